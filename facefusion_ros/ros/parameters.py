"""Parameters as data: a table per node, with units, ranges and the words a person reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import ParameterException

from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rclpy.node import Node
    from rclpy.parameter import Parameter as RosParameter

Value: TypeAlias = 'bool | int | float | str | list[float]'


class ParameterError(FacefusionError):
    """A parameter value that the node cannot take."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row of a node's parameter table."""

    name: str
    default: Value
    description: str
    unit: str = ''
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    fixed: bool = False
    """Whether the value is read once, when the node starts."""

    def descriptor(self) -> ParameterDescriptor:
        """Describe the parameter to ROS."""
        unit = f' [{self.unit}]' if self.unit else ''
        described = ParameterDescriptor(name=self.name, description=self.description + unit, read_only=self.fixed)
        # A launch file makes a number of any text that looks like one, as `bus:=1` does; `taken` turns it back.
        described.dynamic_typing = isinstance(self.default, str)
        if self.choices:
            described.additional_constraints = f'one of: {", ".join(self.choices)}'
        if self.minimum is not None and self.maximum is not None:
            if isinstance(self.default, float):
                described.floating_point_range = [FloatingPointRange(from_value=self.minimum, to_value=self.maximum)]
            else:
                described.integer_range = [IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum))]
        return described

    def taken(self, value: Any) -> Any:  # noqa: ANN401 - whatever type the parameter has
        """Return the value as the node takes it; raises ParameterError where it is no text, or none of the choices."""
        if isinstance(self.default, str):
            if isinstance(value, bool) or not isinstance(value, (str, int, float)):
                message = f'parameter {self.name} must be text, not {value!r}; quote it'
                raise ParameterError(message)
            value = str(value)
        if self.choices and value not in self.choices:
            message = f'parameter {self.name} must be one of {", ".join(self.choices)}, not {value!r}'
            raise ParameterError(message)
        return value


def declare(node: Node, table: Sequence[Parameter], apply: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """Declare the parameters and return their values.

    ``apply`` is called with the changed values whenever somebody sets parameters while the node runs; a FacefusionError
    it raises refuses the change, with its text as the reason. Raises ParameterError where a value given at the start
    will not do.
    """
    rows = {row.name: row for row in table}
    values: dict[str, Any] = {}
    for row in table:
        try:
            value = node.declare_parameter(row.name, row.default, row.descriptor()).value
        except ParameterException as error:
            kind = 'a decimal number such as 30.0' if isinstance(row.default, float) else type(row.default).__name__
            limits = '' if row.minimum is None else f' from {row.minimum:g} to {row.maximum:g}'
            message = f'parameter {row.name} of node {node.get_name()} must be {kind}{limits}: {error}'
            raise ParameterError(message) from error
        values[row.name] = row.taken(value)

    def on_set(changed: list[RosParameter]) -> SetParametersResult:
        try:
            ours = {each.name: rows[each.name].taken(each.value) for each in changed if each.name in rows}
            if ours:
                apply(ours)
        except FacefusionError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(on_set)
    return values
