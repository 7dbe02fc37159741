"""Check the providers of spans and access logs, and what MeshConfig says of logs by itself.

Source: Istio, `ValidateExtensionProvider`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from meshware.policy.document.mesh_config import (
    EnvoyFileAccessLog,
    LogFormat,
    MeshConfigSpec,
    OpenTelemetryProvider,
)
from meshware.policy.log_format import (
    problems_of,
    problems_of_labels,
    warnings_of,
    warnings_of_labels,
)
from meshware.policy.parse import Resource
from meshware.policy.validate.authorization_values import is_token
from meshware.policy.validate.common import Report
from meshware.policy.validate.fields import check_duration
from meshware.policy.validate.grammar import bad_host
from meshware.policy.yaml12 import brief

__all__ = ["check_telemetry_providers"]

_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_TAG = 65_536


def check_telemetry_providers(resource: Resource, report: Report) -> None:
    """Report what is wrong with one MeshConfig about metrics, spans and access logs."""
    spec = resource.spec
    if not isinstance(spec, MeshConfigSpec):
        return
    checker = _Checker(resource, report)
    for index, provider in enumerate(spec.extension_providers or ()):
        here = f"spec.extensionProviders[{index}]"
        if provider.envoy_file_access_log is not None:
            checker.file(f"{here}.envoyFileAccessLog", provider.envoy_file_access_log)
        if provider.opentelemetry is not None:
            checker.receiver(f"{here}.opentelemetry", provider.opentelemetry)
    checker.settings(spec)


class _Checker:
    """Looks at one MeshConfig."""

    def __init__(self, resource: Resource, report: Report) -> None:
        self._resource, self._report = resource, report

    def file(self, path: str, written: EnvoyFileAccessLog) -> None:
        """Report what is wrong with an access log in a file."""
        if written.path is not None:
            self._file_path(f"{path}.path", written.path)
        form = written.log_format
        if form is None:
            return
        here = f"{path}.logFormat"
        if (form.text is None) == (form.labels is None):
            what = "both text and labels" if form.text is not None else "neither text nor labels"
            self._error(here, f"logFormat has {what}; write one of them")
        self._format(here, form)

    def _format(self, path: str, form: LogFormat) -> None:
        if form.text is not None:
            self._text(f"{path}.text", form.text)
        if form.labels is not None:
            self._labels(f"{path}.labels", form.labels)

    def _text(self, path: str, text: str) -> None:
        for problem in problems_of(text):
            self._error(path, f"the format has a problem {problem}")
        for warning in warnings_of(text):
            self._report.warning(self._resource, path, f"in the format {warning}")

    def _labels(self, path: str, labels: Mapping[str, object]) -> None:
        for where, problem in problems_of_labels(labels):
            self._error(f"{path}.{where}", f"{brief(where)} has a problem: {problem}")
        for where, warning in warnings_of_labels(labels):
            self._report.warning(self._resource, f"{path}.{where}", f"in {brief(where)} {warning}")

    def _file_path(self, path: str, file: str) -> None:
        if not file.startswith("/") or "\0" in file or file.endswith("/"):
            self._error(
                path,
                f"{path.rpartition('.')[2]} is {brief(file)!r}; write the absolute path of a file, "
                "such as /dev/stdout",
            )

    def receiver(self, path: str, written: OpenTelemetryProvider) -> None:
        """Report what is wrong with a receiver of spans."""
        host = written.service.rpartition("/")[2]
        wrong = bad_host(host, may_be_pattern=False)
        if wrong is not None or written.service.count("/") > 1:
            wrong = wrong or "write host, or namespace/host"
            self._error(f"{path}.service", f"service is {brief(written.service)!r}; {wrong}")
        if not 1 <= written.port <= 65535:
            self._error(f"{path}.port", f"port is {written.port}; write 1 to 65535")
        longest = written.max_tag_length
        if longest is not None and not 1 <= longest <= _LONGEST_TAG:
            self._error(
                f"{path}.maxTagLength", f"maxTagLength is {longest}; write 1 to {_LONGEST_TAG}"
            )
        http = written.http
        if http is None:
            return
        if not http.path or not _PATH.fullmatch(http.path):
            self._error(
                f"{path}.http.path",
                f"path is {brief(http.path or '')!r}; write the receiver's, mostly /v1/traces",
            )
        check_duration(self._resource, f"{path}.http.timeout", http.timeout, self._report)
        for index, header in enumerate(http.headers or ()):
            here = f"{path}.http.headers[{index}]"
            if not is_token(header.name):
                self._error(
                    f"{here}.name", f"name is {brief(header.name)!r}; write the name of a header"
                )
            if (header.value is None) == (header.env_name is None):
                self._error(here, "a header has one source; write either value or envName")
            if header.value is not None and not _VALUE.fullmatch(header.value):
                self._error(
                    f"{here}.value", "the value can be no header's; write visible ASCII characters"
                )
            if header.env_name is not None and not _VARIABLE.fullmatch(header.env_name):
                self._error(
                    f"{here}.envName",
                    f"envName is {brief(header.env_name)!r}; write the name of a variable",
                )

    def settings(self, spec: MeshConfigSpec) -> None:
        """Report what is wrong with the access log that MeshConfig describes by itself."""
        if spec.access_log_file:
            self._file_path("spec.accessLogFile", spec.access_log_file)
        form = spec.access_log_format
        if not form:
            return
        here = "spec.accessLogFormat"
        if spec.access_log_encoding != "JSON":
            self._text(here, form)
            return
        try:
            labels = json.loads(form)
        except (ValueError, RecursionError) as error:
            self._error(
                here,
                f"accessLogEncoding is JSON and this is none ({brief(str(error), 60)}); write an "
                'object such as {"status": "%RESPONSE_CODE%"}',
            )
            return
        if not isinstance(labels, dict):
            self._error(
                here,
                'accessLogEncoding is JSON and this is no object; write one such as {"status": '
                '"%RESPONSE_CODE%"}',
            )
            return
        for where, problem in problems_of_labels(labels):
            self._error(here, f"{brief(where)} has a problem: {problem}")
        for where, warning in warnings_of_labels(labels):
            self._report.warning(self._resource, here, f"in {brief(where)} {warning}")

    def _error(self, path: str, message: str) -> None:
        self._report.error(self._resource, path, message)
