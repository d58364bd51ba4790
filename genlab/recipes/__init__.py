"""Recipe files: find, list, describe, resolve (extend and merge) and pre-check them. No torch.

The meaning of a setting is in the docstring of its class, which `class_names` finds by short name
without an import and `doors` imports. `files` finds and reads recipes, `heads` checks the facts
that open them, `resolution` merges them and the arguments that `typed` reads, `switching` keeps
arguments when a class changes, `plugins` finds the user's own packages; `stored` reads the recipe
inside a file, `trust` keeps a run's trust list, `same_data` compares recipes by their images,
`credentials` takes passwords and tokens out of addresses. `fingerprints` tell runs apart, by
settings (`plain_settings`, `defaults`, `contents` of files) and by code: `modules` finds files,
`outlines` reads definitions, `effects` statements that act, `imports` follows both;
`kept_fingerprints` remembers them.
"""

from genlab.recipes import trust
from genlab.recipes.class_names import class_path, classes, parameters, short
from genlab.recipes.credentials import without_credentials
from genlab.recipes.doors import (
    allow,
    allowed_now,
    check,
    foreign,
    import_plugins,
    inside,
    load_class,
    load_named,
    recorded,
    trusted_now,
)
from genlab.recipes.files import (
    find,
    head,
    header,
    name_of,
    parse,
    read,
    refuse_untrained,
    root,
    shipped,
    split,
)
from genlab.recipes.heads import Head, Result
from genlab.recipes.resolution import (
    TOP_KEYS,
    Recipe,
    check_keys,
    dump,
    merge,
    resolve,
)
from genlab.recipes.same_data import described, foreign_images, same_images, same_parts
from genlab.recipes.stored import (
    check_words,
    foreign_words,
    from_config,
    of_checkpoint,
    of_run,
    trusting,
)
from genlab.recipes.typed import COMMAND_LINE

__all__ = [
    "COMMAND_LINE",
    "TOP_KEYS",
    "Head",
    "Recipe",
    "Result",
    "allow",
    "allowed_now",
    "check",
    "check_keys",
    "check_words",
    "class_path",
    "classes",
    "described",
    "dump",
    "find",
    "foreign",
    "foreign_images",
    "foreign_words",
    "from_config",
    "head",
    "header",
    "import_plugins",
    "inside",
    "load_class",
    "load_named",
    "merge",
    "name_of",
    "of_checkpoint",
    "of_run",
    "parameters",
    "parse",
    "read",
    "recorded",
    "refuse_untrained",
    "resolve",
    "root",
    "same_images",
    "same_parts",
    "shipped",
    "short",
    "split",
    "trust",
    "trusted_now",
    "trusting",
    "without_credentials",
]
