#!/usr/bin/env python3
"""Writes tests/golden/templates.json: snippets of Jinja2 and what Jinja2, set up as transformers
does it, renders from them (null where it raises). Needs scripts/requirements-test.txt."""

import json
import pathlib

import jinja2_reference
import jinja2_snippets

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
# Of the grid, as many as make a small file; tests/conformance/test_templates.py tries others.
EVERY = 19


def snippets():
    chosen = list(jinja2_snippets.STATEMENTS)
    chosen += ["{{ " + literal + " }}" for literal in jinja2_snippets.LITERALS]
    chosen += list(jinja2_snippets.grid())[len(chosen) :: EVERY]
    return dict.fromkeys(chosen)


def comparable(text):
    return text is None or " at 0x" not in text


def main():
    document = jinja2_snippets.DOCUMENT
    cases = [[s, jinja2_reference.render(s, document, TOKENS)] for s in snippets()]
    cases = [case for case in cases if comparable(case[1])]
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    path = pathlib.Path(__file__).with_name("templates.json")
    shared = json.dumps({"document": document, "tokens": TOKENS}, ensure_ascii=False)
    path.write_text(f'{{"shared": {shared},\n"cases": [\n{lines}\n]}}\n')
    print(f"{len(cases)} cases in {path.name}")


if __name__ == "__main__":
    main()
