"""Which build of PyTorch fits a GPU and its driver: the table, and the choice from it."""

from collections.abc import Sequence
from dataclasses import dataclass

from fluxgym_tui.base.errors import FluxgymError

TORCH_INDEX = "https://download.pytorch.org/whl"

Capability = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchBuild:
    """A build of PyTorch: `name` is its folder of PyTorch's package index, `words` say what it is for.

    `driver` is the least branch of NVIDIA's driver, `cards` the first and last compute capability that it has code for;
    both are None where it is for none of NVIDIA's. `machines` are processors; `room_gb` is what it and sd-scripts'
    other requirements take on the disk, downloads included.
    """

    name: str
    torch: str
    torchvision: str
    words: str
    driver: int | None = None
    cards: tuple[Capability, Capability] | None = None
    machines: tuple[str, ...] = ("x86_64",)
    room_gb: float = 12.0

    @property
    def packages(self) -> tuple[str, str]:
        """What pip is to install."""
        return f"torch=={self.torch}", f"torchvision=={self.torchvision}"

    def has_code_for(self, capability: Capability) -> bool:
        """Whether it runs on a card of that compute capability."""
        return self.cards is not None and self.cards[0] <= capability <= self.cards[1]


_TO_HOPPER = ((5, 0), (9, 0))
_TO_BLACKWELL = ((7, 5), (12, 1))

# The first that fits is taken. sd-scripts is tested with PyTorch 2.6.0 and asks for 2.8.0 with the RTX 50; the later
# one is for machines that have neither. A driver runs the builds for every CUDA up to its own.
TORCH_BUILDS: tuple[TorchBuild, ...] = (
    TorchBuild(
        name="cu124",
        torch="2.6.0",
        torchvision="0.21.0",
        words="GTX 900 to RTX 40, V100, A100, L40, H100, H200",
        driver=550,
        cards=_TO_HOPPER,
    ),
    TorchBuild(
        name="cu118",
        torch="2.6.0",
        torchvision="0.21.0",
        words="the same cards with an older driver",
        driver=520,
        cards=_TO_HOPPER,
    ),
    TorchBuild(
        name="cu128",
        torch="2.8.0",
        torchvision="0.23.0",
        words="RTX 50, RTX PRO Blackwell, B200 (Blackwell, sm_100 and sm_120)",
        driver=570,
        cards=_TO_BLACKWELL,
    ),
    TorchBuild(
        name="cu130",
        torch="2.9.1",
        torchvision="0.24.1",
        words="GH200, GB200 and other ARM machines with a driver for CUDA 13; elsewhere by --torch",
        driver=580,
        cards=_TO_BLACKWELL,
        machines=("aarch64", "x86_64"),
    ),
    TorchBuild(
        name="cu128",
        torch="2.9.1",
        torchvision="0.24.1",
        words="GH200, GB200 and other ARM machines",
        driver=570,
        cards=_TO_BLACKWELL,
        machines=("aarch64",),
    ),
    TorchBuild(
        name="rocm6.4",
        torch="2.8.0",
        torchvision="0.23.0",
        words="AMD: RX 7900, RX 9000, MI200, MI300 (no 8-bit optimiser there: training.optimizer_type: adamw)",
        room_gb=24.0,
    ),
    TorchBuild(
        name="cpu",
        torch="2.6.0",
        torchvision="0.21.0",
        words="no GPU: to try things out",
        machines=("x86_64", "aarch64"),
        room_gb=4.0,
    ),
)


def torch_build(
    *, nvidia: int | None, capabilities: Sequence[Capability] = (), amd: bool = False, machine: str = "x86_64"
) -> TorchBuild:
    """The build for this driver and these cards: of `nvidia` its branch, of `machine` what `platform.machine()` says.

    Where no build runs on every card, it is one for the newest.

    Raises:
        FluxgymError: the driver is too old for the cards, or there are builds for no such processor.
    """
    here = [build for build in TORCH_BUILDS if machine in build.machines]
    if nvidia is None:
        name = "rocm6.4" if amd else "cpu"
        found = next((build for build in here if build.name == name), None)
        if found is None:
            raise FluxgymError(
                f"there is no {name} build of PyTorch for {machine}",
                hint="--python takes an interpreter that has one; --torch cpu goes without the GPU.",
            )
        return found
    fitting = [build for build in here if build.driver is not None and build.driver <= nvidia]
    for wanted in (capabilities, capabilities and [max(capabilities)]):
        for build in fitting:
            if all(map(build.has_code_for, wanted)):
                return build
    least = [build for build in here if build.driver is not None and all(map(build.has_code_for, capabilities))]
    drivers = [build.driver for build in least if build.driver is not None]
    raise FluxgymError(
        f"no build of PyTorch for {machine} fits the NVIDIA driver {nvidia} with {_cards(capabilities)}",
        hint=f"It takes driver {min(drivers)} or newer." if drivers else "--python takes an interpreter that has one.",
    )


def named_build(name: str, *, machine: str) -> TorchBuild:
    """The build called `name`.

    Raises:
        FluxgymError: there is none for this processor.
    """
    here = [build for build in TORCH_BUILDS if machine in build.machines]
    found = next((build for build in here if build.name == name), None)
    if found is None:
        names = ", ".join(build.name for build in here)
        raise FluxgymError(f"there is no build of PyTorch {name} for {machine}", hint=f"There are: {names}.")
    return found


def _cards(capabilities: Sequence[Capability]) -> str:
    if not capabilities:
        return "its cards"
    named = ", ".join(f"{major}.{minor}" for major, minor in sorted(set(capabilities)))
    return f"cards of compute capability {named}"
