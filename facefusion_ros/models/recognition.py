"""Recognising a network's family from its inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from facefusion_ros.models.entry import ModelError, Role
from facefusion_ros.models.families import Catalogue, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facefusion_ros.models.entry import Family, ModelEntry, TensorForm
    from facefusion_ros.models.graph import Graph, GraphTensor

PICTURE = (640, 640)
"""Width and height, pixels, for a network that takes pictures of any size."""
TILE = (128, 128)
"""For one that restores frames, which any part of one suits: a whole one may take it minutes."""

_KINDS = {'float': {'float16', 'float32'}, 'number': {'float16', 'float32', 'float64'}}


@dataclass(frozen=True, slots=True)
class Recognition:
    """A network's family, and which of its tensors is which."""

    family: Family
    inputs: Mapping[str, str]
    """The file's name of each input, by the family's role."""
    outputs: Mapping[str, str]
    size: tuple[int, int] | None
    """Width and height of the picture input; None where the file leaves them open or there is no picture."""
    weight: str | None
    """The file's name of the family's weight."""
    reasons: tuple[str, ...]
    """What matched, in words."""
    named: int = 0
    """How many of the file's names are those of this family's published files."""
    personas: tuple[str, ...] = ()
    """Whom the numbers of the input ``persona`` stand for, as the file says (its metadata ``personas``, commas between
    them); empty where the family has no such input."""


def recognise(graph: Graph, known: Catalogue, family: str | None = None, file_name: str | None = None) -> Recognition:
    """Say of which family a network is.

    Decided by its inputs and outputs: their number, shapes, types and, where a family has its own, names. Families that
    do not differ in these are told apart by the beginning of the file's name. ``family`` asks for that one, which must
    fit. Raises ModelError where none fits, with the reasons, or where several do.
    """
    if family is not None:
        fit, why_not = _fit(graph, known.family(family))
        if fit is None:
            raise ModelError(f'{graph.path}: is not of the family {family}: {why_not}')
        return fit
    found = [fit for each in known.families.values() if (fit := _fit(graph, each)[0])]
    if not found:
        raise ModelError(
            f'{graph.path}: is of no known family: {_signature(graph)}; known: {", ".join(known.families)}'
        )
    best = [fit for fit in found if fit.named == max(fit.named for fit in found)]
    if len(best) > 1:
        best = _by_file_name(best, file_name or graph.path.name) or best
    if len(best) > 1:
        names = ' or '.join(fit.family.name for fit in best)
        raise ModelError(f'{graph.path}: could be {names}, which look the same from outside: say which with --family')
    return best[0]


def input_shapes(
    found: Recognition | ModelEntry,
    graph_inputs: Sequence[GraphTensor],
    usual: tuple[int, int] | None = None,
    batch: int = 1,
) -> dict[str, tuple[int, ...]]:
    """Shapes, by the file's names, for the inputs that a file leaves open in a dimension.

    A picture has the size of the file, else of its family, else the ``usual`` width and height: ``TILE`` or
    ``PICTURE`` where none is given. A batch is one, or ``batch`` where every input that has one leaves it open: so
    ``NetworkSwapper`` wants it for a boost, squared.
    """
    size = found.size or found.family.size or usual or (TILE if found.family.role is Role.BACKGROUND else PICTURE)
    letters = {'w': size[0], 'h': size[1]}
    tensors = {tensor.name: tensor for tensor in graph_inputs}
    pairs = [
        (form, tensors[found.inputs[form.role]])
        for form in found.family.inputs
        if found.inputs.get(form.role) in tensors
    ]
    if any(tensor.shape[0] for form, tensor in pairs if _has_batch(form)):
        batch = 1
    shapes = {}
    for form, tensor in pairs:
        if None in tensor.shape:
            wanted = [n if isinstance(n, int) else letters.get(n or '', 1) for n in form.shape]
            wanted[:1] = [batch] if _has_batch(form) else wanted[:1]
            shapes[tensor.name] = tuple(there or n for there, n in zip(tensor.shape, wanted, strict=True))
    return shapes


def _has_batch(form: TensorForm) -> bool:
    """Whether the first dimension counts pictures; a single number, such as DFM's morph value, is for all of them."""
    return len(form.shape) > 1 and form.shape[0] == 1


def _by_file_name(fits: Sequence[Recognition], file_name: str) -> list[Recognition]:
    name = plain(file_name)
    lengths = [max((len(b) for b in fit.family.file_names if name.startswith(b)), default=0) for fit in fits]
    if not max(lengths):
        return []
    said = f'by its inputs and outputs it could be {" or ".join(fit.family.name for fit in fits)}; its file is called'
    return [
        replace(f, reasons=(*f.reasons, f'{said} {file_name}'))
        for f, length in zip(fits, lengths, strict=True)
        if length == max(lengths)
    ]


def _signature(graph: Graph) -> str:
    return f'{"; ".join(map(str, graph.inputs))} -> {"; ".join(map(str, graph.outputs))}'


def _fit(graph: Graph, family: Family) -> tuple[Recognition | None, str]:
    """Fit a graph to a family; where it does not, say why in words."""
    reason = ''
    for outputs in (family.outputs, *family.other_outputs):
        sizes: dict[str, int] = {}
        into = _assign(graph.inputs, family.inputs, sizes, more=False)
        if isinstance(into, str):
            return None, f'inputs: {into}'
        out = _assign(graph.outputs, outputs, sizes, more=family.more_outputs)
        if isinstance(out, str):
            reason = reason or f'outputs: {out}'
            continue
        size = (sizes['w'], sizes['h']) if {'h', 'w'} <= sizes.keys() else None
        if wrong := _wrong_size(family, sizes.get('w'), sizes.get('h')):
            return None, wrong
        weight = _weight(graph, family)
        if family.weight and weight is None:
            return None, f'it has no weight of {_times(family.weight.shape)} (the {family.weight.role})'
        personas = tuple(name.strip() for name in graph.metadata.get('personas', '').split(',') if name.strip())
        if any(form.role == 'persona' for form in into) and len(personas) != sizes.get('p'):
            return None, f'it says nothing of whom it shows: its metadata "personas" must be {sizes.get("p")} names'
        return replace(_recognition(family, into, out, size, weight), personas=personas), ''
    return None, reason


def _recognition(
    family: Family,
    into: Mapping[TensorForm, GraphTensor],
    out: Mapping[TensorForm, GraphTensor],
    size: tuple[int, int] | None,
    weight: str | None,
) -> Recognition:
    both = [*into.items(), *out.items()]
    reasons = [f'input {tensor} is the {form.role}' for form, tensor in into.items()]
    reasons += [f'output {tensor} is the {form.role}' for form, tensor in out.items()]
    if weight:
        reasons.append(f'weight {weight} is the {family.weight.role if family.weight else ""}')
    return Recognition(
        family=family,
        inputs={form.role: tensor.name for form, tensor in into.items()},
        outputs={form.role: tensor.name for form, tensor in out.items()},
        size=size,
        weight=weight,
        reasons=tuple(reasons),
        named=sum(tensor.name in form.names for form, tensor in both),
    )


def _assign(
    tensors: Sequence[GraphTensor], forms: Sequence[TensorForm], sizes: dict[str, int], *, more: bool
) -> dict[TensorForm, GraphTensor] | str:
    """Give each form its tensor, first by name, then by order; say in words what has none or is left over."""
    found: dict[TensorForm, GraphTensor] = {}
    # Names first: where one tensor fits several forms, the one that is called so has it.
    order = sorted(forms, key=lambda form: not any(tensor.name in form.names for tensor in tensors))
    for form in order:
        rest = [tensor for tensor in tensors if tensor not in found.values()]
        rest.sort(key=lambda tensor: tensor.name not in form.names)
        for tensor in rest:
            bound = _bind(tensor, form, sizes)
            if bound is not None:
                sizes.update(bound)
                found[form] = tensor
                break
        else:
            if not form.optional:
                return f'none is a {form.role} of {_times(form.shape)}; there are {"; ".join(map(str, tensors))}'
    left = [tensor for tensor in tensors if tensor not in found.values()]
    if left and not more:
        return f'{"; ".join(map(str, left))} is not of this family'
    return {form: found[form] for form in forms if form in found}


def _bind(tensor: GraphTensor, form: TensorForm, sizes: Mapping[str, int]) -> dict[str, int] | None:
    """Fit a tensor to a form; return the sizes that its letters stand for, None where it does not fit."""
    if tensor.dtype is None or tensor.dtype.name not in _KINDS[form.dtype]:
        return None
    shape = tensor.shape
    if len(shape) == len(form.shape) + 1 and isinstance(form.shape[0], str) and shape[0] in {1, None}:
        shape = shape[1:]  # one that counts something may come with a batch of one
    if len(shape) != len(form.shape):
        return None
    bound: dict[str, int] = {}
    for size, wanted in zip(shape, form.shape, strict=True):
        if size is None or wanted is None:
            continue
        if isinstance(wanted, int):
            if size != wanted:
                return None
            continue
        letter, _, over = wanted.partition('/')
        letter, _, times = letter.partition('*')
        full, rest = divmod(size * int(over or 1), int(times or 1))
        if rest or {**sizes, **bound}.get(letter, full) != full:
            return None
        bound[letter] = full
    return bound


def _wrong_size(family: Family, width: int | None, height: int | None) -> str:
    known = {side for side in (width, height) if side}
    picture = f'its picture is {_times((width, height))}'
    if family.sizes and (len(known) > 1 or not known <= set(family.sizes)):
        return f'{picture}, not {" or ".join(f"{s}x{s}" for s in family.sizes)}'
    if any(side % family.multiple for side in known):
        return f'{picture}, which are no multiples of {family.multiple}'
    return ''


def _weight(graph: Graph, family: Family) -> str | None:
    """Name of the family's weight: by name, else the one of its shape, preferably one that no node reads."""
    if family.weight is None:
        return None
    fitting = [weight for weight in graph.initializers if weight.shape == family.weight.shape]
    for weight in fitting:
        if weight.name in family.weight.names:
            return weight.name
    unused = [weight for weight in fitting if not weight.used]
    for group in (unused, fitting):
        if len(group) == 1:
            return group[0].name
    return None


def _times(shape: Sequence[object]) -> str:
    return 'x'.join('?' if size is None else str(size) for size in shape)
