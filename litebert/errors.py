"""What can go wrong at the user's end. Every message is one line: the value, the rule, the way out."""


class LitebertError(Exception):
    """The root of all errors that litebert raises on purpose."""


class UserError(LitebertError):
    """The input is at fault, not the program: the command line prints the message alone and exits with 2."""


class ConfigError(UserError):
    """An option, a TOML key or a combination of settings that cannot work."""


class InputError(UserError):
    """A text, a table or one of their rows that cannot be read or used."""


class UnreadableError(InputError):
    """A file that the operating system did not give: the same may be readable at another time."""


class TokenizerError(UserError):
    """A tokenizer that cannot be loaded or trained, or that does not belong to the model."""


class ModelFolderError(UserError):
    """A folder that holds no model, or a damaged one."""


class DataFolderError(UserError):
    """A prepared data folder that is missing, damaged, or made with another tokenizer."""


class CheckpointError(UserError):
    """A run or a checkpoint that cannot be continued."""


class OutputError(UserError):
    """A place that cannot be written: not empty, not permitted, or full."""


class TrainingError(UserError):
    """A training run that cannot succeed as it was set up."""


class Stopped(LitebertError):
    """A run ended early because it was told to; all it did is saved."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
        """Number of the signal."""
