from __future__ import annotations

import argparse

import pytest

from training.commands import choose, fit

OWN = {"fit": {"help", "out", "licence"}, "choose": {"help", "out", "invariances", "content_sizes", "classes", "epochs", "seeds"}}


def facts(command: str) -> dict[str, tuple[object, ...]]:
    parser = argparse.ArgumentParser()
    {"fit": fit, "choose": choose}[command].add_arguments(parser)
    return {
        action.dest: (action.option_strings, action.help, action.default, action.type, action.nargs, action.choices)
        for action in parser._actions
        if action.dest not in OWN[command]
    }


def test_what_fit_and_choose_are_both_told_is_told_alike() -> None:
    assert facts("fit") == facts("choose")
    assert {"recipe", "data", "channel", "device", "seed", "resume", "json"} == set(facts("fit"))


@pytest.mark.parametrize("text", ["-1", str(2**31), "one"])
def test_a_seed_out_of_range_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    fit.add_arguments(parser)
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["a.toml", "--seed", text])
    assert caught.value.code == 2
    assert "seed" in capsys.readouterr().err
