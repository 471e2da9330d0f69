"""What the openai package gets from `leash serve`: clients.py URL MODEL… Fails where an answer is not what it should be."""
import sys

import openai

url, models = sys.argv[1], sys.argv[2:]
client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
assert [m.id for m in client.models.list()] == models, client.models.list()

for model in models:
    ask = dict(model=model, prompt="The capital of France is", temperature=0, max_tokens=8)
    whole = client.completions.create(**ask, logprobs=1, echo=True)
    scores = whole.choices[0].logprobs.token_logprobs
    assert scores[0] is None and all(s <= 0 for s in scores[1:]), scores
    assert len(scores) == whole.usage.total_tokens
    prompt = client.completions.create(**{**ask, "max_tokens": 0}, logprobs=1, echo=True)
    gaps = [abs(a - b) for a, b in zip(prompt.choices[0].logprobs.token_logprobs[1:], scores[1:])]
    assert len(gaps) == 4 and max(gaps) < 1e-4, gaps
    text = "".join(c.choices[0].text for c in client.completions.create(**ask, stream=True))
    assert "The capital of France is" + text == whole.choices[0].text, text

    talk = dict(model=model, messages=[{"role": "user", "content": "Name a colour."}], temperature=0.8, seed=3, max_tokens=12)
    several = client.chat.completions.create(**talk, n=3, logprobs=True, top_logprobs=2)
    assert len({c.message.content for c in several.choices}) > 1
    assert all(len(t.top_logprobs) == 2 for t in several.choices[0].logprobs.content)
    pieces = [[], [], []]
    for chunk in client.chat.completions.create(**talk, n=3, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            pieces[choice.index].append(choice.delta.content or "")
    assert chunk.usage == several.usage, (chunk.usage, several.usage)
    for choice, piece in zip(several.choices, pieces):
        assert "".join(piece) == choice.message.content, piece
    stopped = client.completions.create(**{**ask, "max_tokens": 40}, stop=["Paris"]).choices[0]
    assert stopped.finish_reason == "stop" and "Paris" not in stopped.text

for wrong, error in [({"logit_bias": {"5": 3}}, openai.BadRequestError), ({"model": "none"}, openai.NotFoundError)]:
    try:
        client.completions.create(**{"model": models[0], "prompt": "x", **wrong})
    except error as e:
        print(e.message)
    else:
        raise AssertionError(f"{wrong} was taken")
with client.completions.create(model=models[0], prompt="Once", max_tokens=1500, stream=True,
                               extra_body={"ignore_eos": True}) as stream:
    next(iter(stream))  # and goes away
print(f"{len(models)} models: as they should be")
