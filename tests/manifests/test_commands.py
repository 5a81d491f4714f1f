"""The commands of the documents that need a cluster: the files that they name are there, and what can be run without a cluster is."""

import json
import pathlib
import re
import shlex
import unittest

from manifests import ROOT, patched
from test_istio import RUNNING, plain, written

PAGES = [ROOT / f"envoy/{name}/README.md" for name in ("istio", "kubernetes", "envoy-gateway", "kustomize", "helm/sidecast")]


def commands(page):
    """Each command of a page."""
    for block in re.findall(r"(?m)^ *```sh[^\n]*\n(.*?)^ *```", page.read_text(), re.DOTALL):
        yield from (line.strip() for line in block.splitlines() if line.strip())


def words(command):
    """The words of each program of a pipeline, without what follows a '#'."""
    for part in re.split(r"\s[|&;]+\s?", command):
        yield shlex.split(part, comments=True)


class Commands(unittest.TestCase):
    def test_every_file_that_a_command_names_is_there_or_was_written_before(self):
        seen = 0
        for page in PAGES:
            made = {"values.yaml"}
            for command in commands(page):
                named = [word for program in words(command) for word in program if re.search(r"\.(yaml|json|py|sh|tgz)$", word) and "{" not in word]
                made |= {word.lstrip(">") for word in named if word.startswith(">")}
                for name in named:
                    there = any((folder / name).exists() for folder in (page.parent, ROOT)) or name.lstrip(">") in made or name.startswith("dist/")
                    self.assertTrue(there, f"{page.parent.name}: {command}")
                    seen += 1
        self.assertGreater(seen, 40)

    def test_every_call_of_the_pod_patch_gives_one_that_kubectl_takes(self):
        calls = [command for page in PAGES for command in commands(page) if command.startswith("python3 pod-patch.py")]
        self.assertGreaterEqual(len(calls), 4)
        for call in calls:
            program = shlex.split(call.split(">")[0])
            options = [word for word in program[3:] if word not in ("--running", "running.json")]
            self.assertEqual(program[2], "before.json", call)
            done = written(plain(), RUNNING, *options)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotEqual(patched(plain(), "json", done.stdout), plain())

    def test_every_patch_that_stands_in_a_command_is_json_and_adds_only(self):
        found = [(command, text) for page in PAGES for command in commands(page) for text in re.findall(r"kubectl patch .* -p '([^']*)'", command)]
        self.assertEqual(len(found), 3)
        for command, text in found:
            self.assertNotIn("null", text)
            # A list in a merge patch would replace what is there.
            self.assertNotIn("[", text, command)
            json.loads(text)

    def test_options_of_kubectl_are_those_that_go_together(self):
        for page in PAGES:
            for command in commands(page):
                if "--patch-file" in command and "--local" not in command:
                    self.assertIn("--type json", command)
                if "kubectl apply" in command or "kubectl delete" in command:
                    self.assertRegex(command, r"(-[fk] |kubectl delete (configmap|secret|prometheusrule) )")


if __name__ == "__main__":
    unittest.main()
