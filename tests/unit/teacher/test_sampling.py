"""Token-by-token sampling: how a continuation ends."""

from __future__ import annotations

import torch

from tutelage.teacher.base import Chat, GenerateRequest, Message, Sampling
from tutelage.teacher.sampling import Continuation

TEXT = "<think>\nhm\n</think>\none\ntwo"


class Letters:
    def decode(self, tokens: list[int], **_: object) -> str:
        return "".join(map(chr, tokens))


def continued(thinking: int) -> Continuation:
    chat = Chat((Message("user", "Say one."),), thinking)
    request = GenerateRequest("g", chat, Sampling(temperature=0.0, max_tokens=8, stop=("\n",)))
    made = Continuation(request, 5, Letters(), frozenset(), 1000)
    for sign in TEXT:
        made.step(torch.nn.functional.one_hot(torch.tensor(ord(sign)), 256).float())
    return made


def test_thoughts_have_room_of_their_own_and_a_line_ends_behind_them():
    reply = continued(thinking=18).reply()
    assert reply.text == TEXT.removesuffix("\ntwo")
    assert (reply.completion_tokens, reply.finish_reason) == (26, "length")
    assert continued(thinking=0).reply().text == "<think>"
