"""An account of a real Tule with samples in it."""

import json

import function_packages
from function_account import Account


class Cloud(Account):
    """An account with samples in it."""

    def __init__(self, tule, number, samples, stripped):
        super().__init__(tule, number)
        self._samples = samples
        self._stripped = stripped
        self._prelude = None
        entries = json.loads((samples / "manifest.json").read_text())
        self._manifest = {entry["id"]: entry for entry in entries}

    def deploy(self, sample, name=None, *, packages=(), more=None, **environment):
        """A sample as a function, with the harness's prelude for names that it uses and does not declare."""
        entry = self._manifest[sample]
        source = self._samples / entry["file"]
        files = {f"{sample}.mjs": source if source.suffix == ".mjs" else self._stripped / f"{sample}.mjs"}
        files |= {**(function_packages.modules(*packages) if packages else {}), **(more or {})}
        variables = {
            "NODE_OPTIONS": "--import /opt/prelude.mjs",
            "AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE": "1",
            **environment,
        }
        name = name or f"sample-{sample}"
        if self._prelude is None:
            self._prelude = self.layer("prelude", {"prelude.mjs": self._samples / "harness" / "prelude.mjs"})
        layers = [self._prelude]
        return self.create(name, files, entry["handler"], "nodejs20.x", layers=layers, **variables)
