"""Other people's sessions before a person's: read, not scored, and computed once for all who follow them."""

from centaurlab.data.transcripts import Transcript
from centaurlab.prompts.context import Reading
from centaurlab.prompts.others import OthersContext
from centaurlab.scoring.order import order_texts
from helpers.transcripts import two_keys


def transcript(person: int) -> Transcript:
    return Transcript(two_keys(person), "s", "e", str(person))


def test_only_the_persons_own_responses_are_scored_and_they_are_what_they_were() -> None:
    one, other = transcript(0), transcript(1)
    context = OthersContext(frozenset([one.key]), {"s": (other.text,)})
    prompt, alone = context.prompt(one, "full"), Reading("full").prompt(one)
    assert prompt.text == f"{other.text}\n\n{one.text}"
    assert [(r.number, prompt.text[r.start : r.end]) for r in prompt.responses] == [
        (r.number, alone.text[r.start : r.end]) for r in alone.responses
    ]
    assert prompt.n_responses == alone.n_responses
    assert context.identity != OthersContext(context.sessions, {"s": ()}).identity


def test_whoever_follows_the_same_people_shares_all_that_stands_before() -> None:
    context = OthersContext(frozenset(), {"s": (transcript(1).text, transcript(2).text)})
    reading = Reading("full", context)
    beginnings = [reading.beginning(reading.prompt(transcript(person))) for person in (3, 4)]
    before = len(transcript(1).text) + len(transcript(2).text) + 4
    for ordered in order_texts(beginnings, [len(text) - 2 for text in beginnings]):
        assert ordered.shared[-1] > before
