"""Errors meant for people: one line that names the thing and the mend."""


class RlleakError(Exception):
    """Something the user can mend; shown without a traceback."""


class ConfigurationError(RlleakError):
    """A key, value, experiment or name in the configuration is wrong."""


class SimulatorError(RlleakError):
    """A simulator could not start, died, or hung."""


class CorruptArtefactError(RlleakError):
    """A file is missing, truncated, or does not hold what its description says."""


class ResourceError(RlleakError):
    """The machine lacks something the run needs: disk, memory, a GPU."""


class ProtocolError(RlleakError):
    """A party of a protocol got what it must not accept, or too few parties are left to end it."""
