"""Count what a computation starts on a device, without having one.

Tensors on PyTorch's meta device have shapes and no values: asking for one, which waits for a GPU, is an
error.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")


class CountedOperations(TorchDispatchMode):
    """Counts operations on meta tensors within the context by name; views are none, they start nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        given = tree_leaves((args, kwargs))
        starts = any(isinstance(one, Tensor) and one.device == META for one in given)
        views = any(
            out.alias_info is not None and not out.alias_info.is_write for out in func._schema.returns
        )
        if starts and not views and func._schema.name != "aten::_unsafe_view":
            self.calls[func._schema.name] += 1
        return func(*args, **(kwargs or {}))
