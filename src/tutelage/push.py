"""`tutelage push`: an export to another folder, or to a repository of the Hugging Face hub."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from tutelage.errors import ConfigError, DataError, TutelageError
from tutelage.export import RECORD, built_folder, check_target
from tutelage.report.model_card import CARD

_HUB = "hub:"
_TOKEN = "HF_TOKEN"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*\Z")


class PushError(TutelageError):
    """The hub could not be reached, or refused."""


def push(folder: Path, to: str, *, public: bool = False) -> str:
    """Copies an export, or uploads it.

    Args:
        folder: An export, written by ``tutelage export``.
        to: A folder; or "hub:owner/name", a repository that is made if there is none.
        public: Whether everybody may read the repository.

    Returns:
        The folder, or the address of the repository.

    Raises:
        ConfigError: The folder is no export, ``to`` is neither, or there is no token.
        DataError: The folder holds links, or the target cannot be written.
        PushError: The hub could not be reached, or refused.
    """
    folder = folder.expanduser()
    kind = _kind(folder)
    files = _files(folder)
    if to.startswith(_HUB):
        return _upload(folder, files, to.removeprefix(_HUB), kind, public)
    if public:
        raise ConfigError("--public is for a repository of the hub: --to hub:owner/name.")
    target = Path(to).expanduser()
    if target.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"--to {to} lies in the export itself. Give another folder.")
    check_target(target)
    with built_folder(target) as built:
        for name in files:
            (built / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, built / name)
    return str(target)


def _kind(folder: Path) -> str:
    """Returns what an export is on the hub: "model" or "dataset"."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        form = record["format"]
    except (OSError, ValueError, LookupError, TypeError):
        form = None
    if not isinstance(form, str) or not (folder / CARD).is_file():
        raise ConfigError(
            f"{folder} is no export: it lacks {RECORD} or {CARD}. Write one with `tutelage export` "
            "first, and give its folder."
        )
    return "dataset" if form == "dataset" else "model"


def _files(folder: Path) -> list[str]:
    """Returns the files of an export; hidden ones are none of it.

    Raises:
        DataError: There is a link, which would take along what it leads to.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if any(part.startswith(".") for part in name.parts):
            continue
        if path.is_symlink():
            raise DataError(f"{path} is a link, and an export has none. Remove it, or export anew.")
        if path.is_file():
            found.append(str(name))
    return found


def _upload(folder: Path, files: list[str], repository: str, kind: str, public: bool) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not _REPOSITORY.match(repository):
        raise ConfigError(
            f"--to hub:{repository} names no repository. Give --to hub:owner/name, with your "
            "account or organisation as the owner."
        )
    token = os.environ.get(_TOKEN, "").strip()
    if not token:
        raise ConfigError(
            f"An upload needs a token of the hub that may write. Put it into the variable {_TOKEN} "
            f"(export {_TOKEN}=…); it is read from there alone."
        )
    disable_progress_bars()
    try:
        api = HfApi(token=token)
        made = api.create_repo(repository, repo_type=kind, private=not public, exist_ok=True)
        if not public and not api.repo_info(repository, repo_type=kind).private:
            raise ConfigError(
                f"The repository {repository} is there already, and everybody can read it. Give "
                "another name, or --public if that is meant."
            )
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            repo_type=kind,
            commit_message="Upload an export of tutelage",
            allow_patterns=[_exactly(name) for name in files],
        )
    except ConfigError:
        raise
    except HfHubHTTPError as error:
        status = error.response.status_code
        means = _MEANINGS.get(status, "The hub may have a fault: try again later")
        raise PushError(
            f"The hub refused the upload to {repository} (status {status}). {means}."
        ) from None
    except HFValidationError as error:
        first = str(error).splitlines()[0].replace(token, "***")
        raise ConfigError(
            f"--to hub:{repository} names no repository: {first} Give --to hub:owner/name."
        ) from None
    except Exception as error:
        # Each version of the hub's client has another HTTP package, with errors of its own. Their
        # requests hold the token, so they are not passed on as a cause.
        first = (str(error).strip() or type(error).__name__).splitlines()[0].replace(token, "***")
        raise PushError(
            f"The upload to {repository} failed ({type(error).__name__}: {first[:200]}). See that "
            "this machine reaches the hub, and that HF_HUB_OFFLINE is not set; then try again."
        ) from None
    return str(made)


_MEANINGS = {
    400: f"It does not accept a file or {CARD} as it is",
    401: f"The token in {_TOKEN} is not valid: make another one in the settings of your account",
    403: f"The token in {_TOKEN} may not write there: give one that may, or another owner",
    404: "There is no such owner, or the token may not see it",
    429: "It was asked too often: wait, and try again",
}


def _exactly(name: str) -> str:
    """Returns a pattern of the hub's client that means one file."""
    return re.sub(r"([*?\[])", r"[\1]", name)
