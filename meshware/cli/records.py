"""Open what `--policy` names: a policy file, or YAML to compile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meshware.errors import PolicyError, PolicyFileError, SettingsError
from meshware.policy.file import MemoryRecords, Records
from meshware.runtime.policy_file import open_policy_file, trusted_owners
from meshware.runtime.readers import compile_sources, is_source

__all__ = ["naming", "records_at"]

_REMEDY = "--policy names what `meshware sync` wrote, or YAML: a directory, .yaml, .yml or .json"


def records_at(policy: Path) -> Records:
    """Return the records of a policy file, or of YAML.

    Raises:
        SettingsError: the place cannot be read, or holds no policy file.
        PolicyError: the YAML has problems; all of them are in it.
    """
    with naming(policy):
        policy.stat()
        if is_source(policy):
            # Not at import: a probe of a policy file is to start fast.
            from meshware.policy.dns_records import with_names

            return MemoryRecords(with_names(compile_sources(policy)))
        return open_policy_file(policy, trusted_owners(None))


@contextmanager
def naming(policy: Path) -> Iterator[None]:
    """Make what is wrong with a place one sentence that names it, with the remedy.

    Raises:
        SettingsError: the place cannot be read, or holds no policy file.
    """
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SettingsError(f"{policy}: {reason}; {_REMEDY}") from error
    except PolicyFileError as error:
        place = "" if str(policy) in str(error) else f"{policy}: "
        raise SettingsError(f"{place}{error}; {_REMEDY}") from error
    except PolicyError as error:
        from meshware.cli.check import refuse_unreadable

        refuse_unreadable(error.problems)
        raise
