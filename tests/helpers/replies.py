"""Replies as odd as a teacher can send them."""

from __future__ import annotations

from hypothesis import strategies as st

from tutelage.teacher.base import Reply

# With half surrogate pairs and control characters, and some texts longer than a page of a file.
texts = st.text(st.characters(exclude_categories=())) | st.builds(
    lambda text, times: text * times, st.text(st.characters(), min_size=1), st.integers(1, 9000)
)
odd_replies = st.builds(
    Reply,
    id=st.just("g"),
    text=texts,
    logprobs=st.lists(st.floats(), max_size=4).map(tuple),
    prompt_tokens=st.integers(-5, 10**30),
    completion_tokens=st.integers(-5, 10**30),
    finish_reason=st.text(st.characters(exclude_categories=()), max_size=5),
)
