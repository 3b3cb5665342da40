"""Which of Langflow's starter projects run here: ``make starters`` prints the table.

The projects lie in the wheels of ``langflow-base`` and are only read. They run unchanged on the embedded engine, with
a loopback provider in place of every model and canned pages in place of the web. What a user does in the editor is
done for them: a model is chosen where none is (as KEYTURN_DEFAULT_MODEL does it), and a file for nodes that read one.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from pathlib import Path
from typing import Any

from service.adapters.openai import OpenAIProvider
from service.adapters.providers import Providers
from service.domain.errors import DomainError, NotFound, UnknownComponents
from service.domain.ports import RunContext, RunInput, RunSpec, StoredMessage, UploadedFile, WebRequest, WebResponse
from service.engine import EmbeddedEngine, Outside
from tests.support.provider import serving

Json = dict[str, Any]
FLOW_ID = "00000000-0000-4000-8000-000000000001"
FILE = f"{FLOW_ID}/report.txt"
#: At least so many of each version's projects have to run.
WANTED = {"1.13.0": 20, "1.5.1": 19}

PAGE = b'<html lang="en"><head><title>A page</title></head><body><p>Words.</p><a href="/next">next</a></body></html>'
FOUND = (
    b'<html><div class="result"><a class="result__a" href="https://page.example/">A page</a>'
    b'<a class="result__snippet">Words</a></div></html>'
)
FEED = b"<rss><channel><item><title>News</title><link>https://page.example/</link></item></channel></rss>"
PAPERS = (
    b'<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>1</id><title>A paper</title><summary>About.</summary>'
    b"<author><name>Ada</name></author></entry></feed>"
)
RESULTS = b'{"answer": "yes", "results": [{"title": "A page", "url": "u", "content": "Words", "score": 1}]}'


class CannedWeb:
    """Answers every address, by what it looks like."""

    def send(self, request: WebRequest) -> WebResponse:
        for part, kind, content in (
            ("duckduckgo", "text/html", FOUND),
            ("news.google", "application/xml", FEED),
            ("arxiv", "application/atom+xml", PAPERS),
            ("tavily", "application/json", RESULTS),
            ("searchapi", "application/json", b'{"organic_results": []}'),
        ):
            if part in request.url:
                return WebResponse(200, {"content-type": kind}, content, request.url)
        return WebResponse(200, {"content-type": "text/html"}, PAGE, request.url)


class OneFile:
    """The one upload that there is."""

    def read(self, reference: str) -> UploadedFile:
        if reference != FILE:
            raise NotFound("File not found")
        return UploadedFile("report.txt", b"Revenue was 10, cost was 7.")


class NoHistory:
    """A conversation that has just begun."""

    def add(self, message: StoredMessage) -> None:
        """Forget it."""

    def load(self, *_: Any, **__: Any) -> list[StoredMessage]:
        return []


def tried(data: Json, engine: EmbeddedEngine) -> str:
    """``runs``, or why it does not."""
    try:
        bound = engine.compile(_with_file(data)).bind({})
        values = {use.name: "sk-loopback" for use in bound.variables}
        spec = RunSpec(FLOW_ID, FLOW_ID, RunInput("hello", "chat"), "any")
        *_, last = bound.run(spec, values, RunContext(NoHistory(), OneFile()))
    except UnknownComponents as error:
        return f"needs {', '.join(error.names)}"
    except DomainError as error:
        return f"FAILS: {error}"
    outputs: Any = last.data["outputs"]
    return "runs" if outputs[0]["outputs"] else "FAILS: no output"


def _with_file(data: Json) -> Json:
    """The project with a file chosen, where a node asks for one and has none."""
    chosen = copy.deepcopy(data)
    for node in chosen["nodes"]:
        template = node["data"].get("node", {}).get("template", {})
        if node["data"].get("type") == "File" and not template["path"].get("file_path"):
            template["path"]["file_path"] = [FILE]
    return chosen


def main() -> int:
    """Print the table; fail when fewer projects run than have to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds langflow-1.13.0 and langflow-1.5.1, unpacked")
    folder = parser.parse_args().folder
    short = False
    with serving() as provider:
        model = OpenAIProvider(base_url=provider.url)
        names = ("OpenAI", "Anthropic", "Google", "Google Generative AI", "Groq", "Ollama", "Azure OpenAI")
        models = Providers(dict.fromkeys(names, model))
        engine = EmbeddedEngine(Outside(models, CannedWeb(), default_model=("OpenAI", "gpt-4o-mini")))
        for version, wanted in WANTED.items():
            paths = sorted((folder / f"langflow-{version}/langflow/initial_setup/starter_projects").glob("*.json"))
            found = {path.stem: tried(json.loads(path.read_text())["data"], engine) for path in paths}
            running = sum(1 for result in found.values() if result == "runs")
            print(f"Langflow {version}: {running} of {len(found)} run (at least {wanted} have to)")
            for name, result in found.items():
                print(f"  {name:32} {result}")
            short = short or running < wanted
        model.close()
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
