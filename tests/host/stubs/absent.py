"""A package that is not there but can be imported, submodules and all; using a name of it raises.

ComfyUI imports torchvision and torchaudio at start and needs neither for what is tested here.
"""

import sys
from collections.abc import Callable
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _AbsentType(type):
    """Attributes of an absent class (enum members, mostly) are their own names."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class Absent(metaclass=_AbsentType):
    """May be imported and subclassed, raises when it is made or called."""

    def __init__(self, *_, **__):
        raise NotImplementedError(f"{type(self).__module__} is not installed here")


def absent(module: str, name: str) -> type:
    """A stand-in for ``module.name``.

    Raises:
        AttributeError: For the names that Python itself asks for.
    """
    if name.startswith("__"):
        raise AttributeError(name)
    return _AbsentType(name, (Absent,), {"__module__": module})


class _AbsentModule(ModuleType):
    __path__ = ()

    def __getattr__(self, name):
        return absent(self.__name__, name)


class _Finder(MetaPathFinder, Loader):
    def __init__(self, package: str):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        inside = name.startswith(f"{self.package}.")
        return ModuleSpec(name, self, is_package=True) if inside else None

    def create_module(self, spec):
        return _AbsentModule(spec.name)

    def exec_module(self, module):
        """Nothing to run."""


def stand_in(package: str) -> Callable[[str], type]:
    """Let every submodule of ``package`` that has no file be imported; return its __getattr__."""
    sys.meta_path.append(_Finder(package))
    return partial(absent, package)
