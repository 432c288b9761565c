"""How patches are blended."""

from __future__ import annotations

from dataclasses import dataclass

from facefusion_ros.errors import require


@dataclass(frozen=True, slots=True)
class BlendSettings:
    """Settings of the blender."""

    feather: float = 0.12
    """Width of the soft rim along the patch's edge, fraction of the patch's size, 0 to 0.5."""
    colour_strength: float = 1.0
    """How far brightness and shading follow the original face, 0 (persona as painted) to 1 (wholly)."""
    chroma_strength: float = 0.7
    """How far the persona takes the light's tint, as far as the original face shows it, 0 to 1."""
    contrast_strength: float = 0.7
    """How far the persona's colours vary as those of the original face do, in harsh light or in haze, 0 to 1."""
    seam_strength: float = 1.0
    """How far the persona's rim takes on the colours of the skin it meets, 0 to 1; times colour_strength."""
    grain_strength: float = 1.0
    """How far the persona takes on the picture's grain and softness, 0 to 1."""
    colour_time_constant_s: float = 0.4
    """Time constant of the colour filter, seconds; 0 follows every frame at once."""
    light_step_ratio: float = 1.3
    """Change of the illuminance within 0.3 s, as a ratio above 1, that opens the colour filter."""

    def __post_init__(self) -> None:
        """Raise SettingError where a setting is out of range."""
        require(
            self,
            {
                'feather must be 0 to 0.5': 0 <= self.feather <= 0.5,
                'colour_strength must be 0 to 1': 0 <= self.colour_strength <= 1,
                'chroma_strength must be 0 to 1': 0 <= self.chroma_strength <= 1,
                'contrast_strength must be 0 to 1': 0 <= self.contrast_strength <= 1,
                'seam_strength must be 0 to 1': 0 <= self.seam_strength <= 1,
                'grain_strength must be 0 to 1': 0 <= self.grain_strength <= 1,
                'colour_time_constant_s must be 0 to 60': 0 <= self.colour_time_constant_s <= 60,
                'light_step_ratio must be 1.05 to 100': 1.05 <= self.light_step_ratio <= 100,
            },
        )
