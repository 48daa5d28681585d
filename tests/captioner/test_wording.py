"""From answers to captions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxgym_tui.captioner.wording import clean_caption, says_only, with_trigger


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        ("The image shows a dog on a beach.", "a dog on a beach."),
        ("This photograph depicts a woman.", "a woman."),
        ("In this image, we can see two cats", "two cats"),
        ("The image is a portrait of a young woman.", "a portrait of a young woman."),
        ("The image is black and white.", "The image is black and white."),
        ("Okay, here is the description:\nA cat", "A cat"),
        ("In the picture there is a red car.", "a red car."),
        ("Sure! Here's a caption: A man in a hat.", "A man in a hat."),
        ("Here is a description of the image: The image features a boat", "a boat"),
        ("Caption: A man.", "A man."),
        ('"A man in a hat."', "A man in a hat."),
        ("**A man**\n\nin a\thost of\r\nlines", "A man in a host of lines"),
        ("<think>Let me look. The image shows...</think>\nA tree.", "A tree."),
        ("thinking aloud</think>A tree.", "A tree."),
        ("</s><s>A tree.</s><pad><pad>", "A tree."),
        ("<|im_start|>A tree.<|im_end|>", "A tree."),
        ("A pic\x1b[31mture", "A pic [31mture"),
        ("Ein Bär im Schnee 雪 🐻", "Ein Bär im Schnee 雪 🐻"),
        ("the image shows", "the image shows"),
        ("A scene from a play", "A scene from a play"),
        (" \n ", ""),
        ("<think>nothing but thought</think>", ""),
    ],
)
def test_an_answer_becomes_one_plain_line(answer: str, caption: str) -> None:
    assert clean_caption(answer) == caption


@pytest.mark.parametrize(
    ("caption", "trigger", "expected"),
    [
        ("a man on a horse", "hrld person", "hrld person, a man on a horse"),
        ("hrld person on a horse", "hrld person", "hrld person on a horse"),
        ("Hrld  Person on a horse, hrld person smiles", "hrld person", "hrld person on a horse, smiles"),
        ("a photo of hrld person, smiling", "hrld person", "hrld person, a photo of, smiling"),
        ("hrldperson", "hrld", "hrld, hrldperson"),
        ("a man", "", "a man"),
        ("hrld", "hrld", "hrld"),
        ("", "hrld", "hrld"),
        ("c++ code", "c++", "c++ code"),
    ],
)
def test_the_trigger_stands_first_and_once(caption: str, trigger: str, expected: str) -> None:
    assert with_trigger(caption, trigger) == expected


@given(st.text(alphabet="ab c,.", max_size=30), st.sampled_from(["ab", "a b", "ab c"]))
def test_the_trigger_is_never_twice_whatever_is_said(caption: str, trigger: str) -> None:
    once = with_trigger(" ".join(caption.split()), trigger)
    assert once.startswith(trigger)
    assert with_trigger(once, trigger) == once


@given(st.text(max_size=200))
def test_cleaning_is_done_once_for_all(answer: str) -> None:
    caption = clean_caption(answer)
    assert caption.isprintable()
    assert clean_caption(caption) == caption


def test_a_caption_of_the_trigger_alone_says_nothing() -> None:
    assert says_only(" Hrld   person. ", "hrld person")
    assert says_only("", "")
    assert not says_only("hrld person smiles", "hrld person")
