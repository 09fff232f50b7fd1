"""Looking rows up in a table, with a gradient that is the same bits in every run.

Compiled for a CPU, torch adds the gradients of equal ids together in whatever order its threads come; a
resumed run would drift away from one that was never stopped. The kernel called here gives each row to one
thread.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, library


@library.custom_op("litebert::table_gradient", mutates_args=())
def table_gradient(gradient: Tensor, ids: Tensor, rows: int) -> Tensor:
    """Sum the gradient (T, E) into the rows of a table by ids (T,) -> (rows, E)."""
    result: Tensor = torch.ops.aten.embedding_dense_backward(gradient.contiguous(), ids, rows, -1, False)
    return result


@table_gradient.register_fake
def _(gradient: Tensor, ids: Tensor, rows: int) -> Tensor:
    return gradient.new_empty(rows, gradient.shape[-1])


@library.custom_op("litebert::table_rows", mutates_args=())
def table_rows(table: Tensor, ids: Tensor) -> Tensor:
    """Rows of a table (V, E) by ids (T,) -> (T, E)."""
    return F.embedding(ids, table)


@table_rows.register_fake
def _(table: Tensor, ids: Tensor) -> Tensor:
    return table.new_empty(*ids.shape, table.shape[1])


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    table, ids = inputs
    ctx.save_for_backward(ids)
    ctx.rows = table.shape[0]


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    (ids,) = ctx.saved_tensors
    return table_gradient(gradient, ids, ctx.rows), None


table_rows.register_autograd(_backward, setup_context=_keep)


def look_up(table: Tensor, ids: Tensor) -> Tensor:
    """Rows of a table (V, E) by ids (T,) -> (T, E)."""
    if torch.is_grad_enabled() and table.requires_grad:
        rows: Tensor = table_rows(table, ids)
        return rows
    return F.embedding(ids, table)  # exports see torch's own operator
