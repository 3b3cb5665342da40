"""Talks to a server with OpenAI's SDK and prints what came of it as JSON.

Called with the base URL, a good key, a key that may make one request, and a model that answers with an agent.
"""

import json
import sys

import openai
from openai import OpenAI

BASE_URL, KEY, USED_UP, MODEL = sys.argv[1:]
HELLO = [{"role": "user", "content": "Hello"}]


def failure(call):
    """The class of what a call raises, its status and its code."""
    try:
        call()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code]
    except openai.APIError as error:
        return [type(error).__name__, None, error.code]
    return None


def main():
    client = OpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0)
    patient = OpenAI(base_url=BASE_URL, api_key=KEY, max_retries=2)
    stranger = OpenAI(base_url=BASE_URL, api_key="sk-not-a-key", max_retries=0)
    used_up = OpenAI(base_url=BASE_URL, api_key=USED_UP, max_retries=0)
    found = {"models": [model.id for model in client.models.list()], "model": client.models.retrieve(MODEL).id}

    first = client.responses.create(model=MODEL, input="I am Ada.")
    second = client.responses.create(model=MODEL, input="Who am I?", previous_response_id=first.id)
    found["plain"] = [
        first.output_text,
        first.usage.total_tokens,
        second.output_text,
        second.previous_response_id == first.id,
    ]

    events = list(client.responses.create(model=MODEL, input=HELLO, stream=True))
    found["raw stream"] = [
        events[0].type,
        "".join(e.delta for e in events if e.type == "response.output_text.delta"),
        events[-1].type,
    ]
    with client.responses.stream(
        model=MODEL, input='please\n!tool evaluate_expression {"expression": "6*7"}'
    ) as stream:
        kinds = [event.type for event in stream]
        last = stream.get_final_response()
    found["helper"] = [
        "response.function_call_arguments.delta" in kinds,
        [item.type for item in last.output],
        last.output_text,
    ]
    results = client.responses.create(
        model=MODEL, input='please\n!tool evaluate_expression {"expression": "6*7"}', include=["tool_call.results"]
    )
    found["results"] = [results.output[0].type, results.output[0].results, results.output_text]
    failed = list(client.responses.create(model=MODEL, input="!401", stream=True))[-1]
    found["failed stream"] = [failed.type, failed.response.error.code]

    done = client.chat.completions.create(model=MODEL, messages=HELLO)
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    found["chat"] = [done.choices[0].message.content, done.usage.total_tokens]
    found["chat stream"] = [
        "".join(c.choices[0].delta.content or "" for c in chunks if c.choices),
        chunks[-1].usage.total_tokens,
    ]

    used_up.models.list()
    found["failures"] = {
        "no such model": failure(lambda: client.responses.create(model="never", input="Hello")),
        "no such model to chat with": failure(lambda: client.chat.completions.create(model="never", messages=HELLO)),
        "no such model to look at": failure(lambda: client.models.retrieve("never")),
        "a bad key": failure(lambda: stranger.responses.create(model=MODEL, input="Hello")),
        "a bad key to list": failure(stranger.models.list),
        "a used up key": failure(lambda: used_up.responses.create(model=MODEL, input="Hello")),
        "tools": failure(lambda: client.responses.create(model=MODEL, input="Hello", tools=[{"type": "web_search"}])),
        "an image": failure(
            lambda: client.responses.create(
                model=MODEL,
                input=[
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_image", "image_url": "https://example.org/x.png", "detail": "auto"}
                        ],
                    }
                ],
            )
        ),
        "a failed run": failure(lambda: patient.responses.create(model=MODEL, input="!401")),
        "a failed chat": failure(
            lambda: list(
                client.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": "!401"}], stream=True
                )
            )
        ),
    }
    print(json.dumps(found))


main()
