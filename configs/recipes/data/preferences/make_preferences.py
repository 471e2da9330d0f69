"""Writes ../preferences.train.jsonl and ../preferences.held_out.jsonl from answers.txt, which was written for this project.

    python configs/recipes/data/preferences/make_preferences.py

The rule. Preferred is the answer that addresses what was asked, in a friendly tone, concisely. Each pair holds a good answer and
one that breaks exactly one of these, named in its key `flaw`:

    curt       addresses the question, but is unfriendly or dismissive (usually shorter)
    padded     says the same with filler and repetition (longer)
    off_topic  a good answer to another question (as often longer as shorter)
    evasive    is friendly, but does not answer (as often longer as shorter)

Each prompt has three pairs: curt, padded, and one of the other two in turn. So length is no cue: the chosen answer is the longer
one about as often as the shorter one, which is checked here. Every fourth prompt of a topic is held out with all its pairs, and
held-out pairs take their filler and evasions from other lists than training pairs, so that a model cannot know them by heart.
"""
import json
import random
from pathlib import Path

HERE = Path(__file__).parent

# Each list: training, held out.
OPENINGS = [
    ["That is something which a great many people ask themselves, and there is a lot that one could say about it.",
     "Before I come to the answer, let me say that this is a topic with many sides, all of which deserve some thought.",
     "Thank you for bringing this up, because it gives me the opportunity to go into it at some length.",
     "There are, as so often in life, several things to be considered here, one after the other.",
     "First of all, it has to be pointed out that questions of this kind come up again and again.",
     "Let me begin at the very beginning, since it is always good to begin there.",
     "What you mention here is interesting, and interesting things are worth a few more words than usual.",
     "In order to deal with this properly, it makes sense to take a small step back and look at the whole.",
     "As you may or may not know, this has been a matter of conversation for quite some time.",
     "Well, where should one start, given that there is so much to start with?"],
    ["Now this is a subject about which one could talk for hours without coming to an end.",
     "I would like to take this occasion to share some general remarks ahead of everything else.",
     "It goes without saying that much has been said on this already, but some of it bears saying once more.",
     "To approach this in an orderly way, let us take things in the order in which they come."]]
MIDDLES = [
    ["And when I say that, I mean it exactly in the sense in which I have just said it.",
     "This is worth keeping in mind, and it is also worth remembering, as one should not forget it.",
     "Of course other people may see it in other ways, and they are free to do so, as everyone is.",
     "At this point it might be helpful to pause for a moment and to let that sink in.",
     "It may sound obvious, and in a way it is, but what is obvious is often overlooked for that very reason.",
     "One could add a number of further remarks here, some of them longer than others.",
     "In other words, and to put it differently, that is more or less how the matter stands.",
     "Needless to say, all of this holds in general, apart from those cases where it does not."],
    ["That being said, it should be said that it can also be said in a number of other ways.",
     "Naturally this is only one part of the picture, and pictures tend to have several parts.",
     "I mention this because it seems to me to be worth a mention, all things considered."]]
CLOSINGS = [
    ["All in all, taking everything together, this sums up what there is to be said in summary.",
     "I hope that this was of some use to you, and if it was not, then perhaps it will be at some later point in time.",
     "So much for that, although there would be more to tell if one wanted to tell more.",
     "To cut a long story short, which it has by now become, that is basically the whole of it.",
     "As mentioned above, and as I have tried to explain, this is how one may look at it.",
     "In conclusion it can be concluded that these are the points that matter in this regard.",
     "Having gone through all of this, we have now arrived at the end of it.",
     "And with that I would like to close, not without repeating that it really is as I have described it."],
    ["This, in a nutshell, although it was a rather large nutshell, is what comes to mind.",
     "There you have it, from the first point to the last one, with everything in between.",
     "Much more could be added, but what has been added so far may serve for the time being."]]
AGAIN = [["To say it once more:", "Again, because it cannot be said too often:", "Let me repeat the main point:", "So, as I said:"],
         ["To come back to what was said before:", "Once again, for the sake of completeness:"]]

SHORT_EVASIONS = [
    ["Oh, that depends on so many things!", "Good question, I have wondered about it as well.", "What a nice thing to ask!",
     "There are several good ways, I am sure.", "You will certainly find a good solution.",
     "Many people ask that, so you are not alone.", "I would love to say, but tastes differ so much.",
     "That is a lovely topic, is it not?", "Perhaps someone near you knows more about it.",
     "It is wonderful that you care about such things.", "I am happy to help with anything you need!",
     "Everyone finds their own way with this."],
    ["How interesting, thank you for asking!", "I am sure that it will turn out well.", "That is really up to you, I would say.",
     "You know best what suits you here."]]
LONG_EVASIONS = [
    ["Thank you so much for your trust! This is one of those matters where every situation is a little different, so I would not "
     "like to say anything general that might not suit you in the end. I wish you all the best with it.",
     "I really like that you are thinking about this. Some people take one path and others take another, and both may be happy with "
     "it. Whatever you decide, it is your own decision, and that is the beautiful thing about it.",
     "It is great that you turn to me with this! I could imagine that there are books and clever people who know a lot about it. "
     "Maybe you have time to look around a little, it is often fun to discover such things by yourself.",
     "What a thoughtful question. There are so many aspects to it that one hardly knows where to begin, and each of them would be "
     "worth an evening. I am sure that you will find the one that feels right to you.",
     "I am glad to hear from you! Matters like this one change with time, with place and with the people involved, which makes them "
     "so colourful. Take it easy, listen to your heart, and do not let anybody hurry you.",
     "That is close to my heart as well. I would not like to take the joy of finding out away from you, for it is often the way "
     "there that stays with us. Please feel free to come back and tell me how it went.",
     "How nice of you to ask me of all people! Opinions differ, and I respect every one of them. Perhaps a friend, a neighbour or "
     "an expert can tell you more; they surely have some experience that they would gladly share.",
     "You are doing the right thing by asking. There is no answer that fits everybody, and I would rather not choose one of them "
     "for you. But I am certain that with a little patience all of it will fall into place."],
    ["I appreciate that you share this with me. So much depends on the details that it would hardly be fair to pick out a single "
     "answer. Look at it calmly from all sides, and you will feel what is right.",
     "This is a subject that has always had its friends, and I can well understand why. One might do this or that, and each would "
     "have something to be said for it. I am keeping my fingers crossed for you!",
     "It is always a pleasure to talk about such things with you. Some would answer quickly here, but I prefer to leave the door "
     "open, since life has its surprises. You will surely make something good of it."]]


def read_answers():
    """[{topic, prompt, good, curt}], in the file's order."""
    entries, topic = [], None
    for block in (HERE / "answers.txt").read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if len(lines) == 1:
            topic = lines[0].strip("[]")
        elif lines:
            prompt, good, curt = lines
            entries.append(dict(topic=topic, prompt=prompt, good=good, curt=curt))
    return entries


def first_sentence(text):
    ends = [text.find(mark) for mark in (". ", "! ", "? ")]
    ends = [end for end in ends if end > 0]
    return text[:min(ends) + 1] if ends else text


def padded(entry, part, draw):
    head = first_sentence(entry["good"])
    rest = entry["good"][len(head):].strip()
    pieces = [draw.choice(OPENINGS[part]), head]
    if rest:
        pieces += [draw.choice(MIDDLES[part]), rest] if draw.random() < 0.7 else [rest]
    if draw.random() < 0.4:
        pieces.append(draw.choice(AGAIN[part]) + " " + head)
    if draw.random() < 0.7:
        pieces.append(draw.choice(CLOSINGS[part]))
    return " ".join(pieces)


def off_topic(entry, others, longer, draw):
    """A good answer from another topic, longer or shorter than this one's."""
    length = len(entry["good"])
    fitting = [other["good"] for other in others if other["topic"] != entry["topic"] and
               (len(other["good"]) > length if longer else len(other["good"]) < length)]
    return draw.choice(fitting) if fitting else draw.choice([o["good"] for o in others if o["topic"] != entry["topic"]])


def pairs_of(entry, index, part, others, draw):
    longer = index % 4 < 2
    if index % 2 == 0:
        third = ("off_topic", off_topic(entry, others, longer, draw))
    else:
        third = ("evasive", draw.choice((LONG_EVASIONS if longer else SHORT_EVASIONS)[part]))
    for flaw, rejected in [("curt", entry["curt"]), ("padded", padded(entry, part, draw)), third]:
        yield dict(prompt=[dict(role="user", content=entry["prompt"])],
                   chosen=[dict(role="assistant", content=entry["good"])],
                   rejected=[dict(role="assistant", content=rejected)], flaw=flaw)


def check(entries, written):
    known = set()
    for name in ("everyday_prompts", "short_answers"):
        for part in ("train", "held_out"):
            for line in (HERE.parent / f"{name}.{part}.jsonl").read_text(encoding="utf-8").splitlines():
                known.add(json.loads(line)["messages"][0]["content"])
    prompts = [entry["prompt"] for entry in entries]
    assert len(set(prompts)) == len(prompts) >= 150, len(prompts)
    assert not known & set(prompts), known & set(prompts)
    for part in written:
        texts = [(pair["chosen"][0]["content"], pair["rejected"][0]["content"]) for pair in part]
        longer = sum(len(c) > len(r) for c, r in texts) / len(texts)
        assert 0.45 <= longer <= 0.55, longer
        print(f"{len(part)} pairs, the chosen answer is the longer one in {longer:.1%}")
    assert sum(map(len, written)) >= 400


def main():
    draw = random.Random(20)
    entries = read_answers()
    written = ([], [])
    in_topic = {}
    for index, entry in enumerate(entries):
        place = in_topic[entry["topic"]] = in_topic.get(entry["topic"], -1) + 1
        part = 1 if place % 4 == 3 else 0
        others = [other for other in entries if other is not entry]
        written[part].extend(pairs_of(entry, len(written[part]) // 3, part, others, draw))
    check(entries, written)
    for name, pairs in zip(("train", "held_out"), written):
        text = "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs)
        (HERE.parent / f"preferences.{name}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
