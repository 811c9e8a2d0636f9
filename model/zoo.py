"""The one table of networks, by the name that a configuration has."""

from model.drunet import DrUNet
from model.nafnet import NafNet, NafNetSmall
from model.network import Name, Network, NetworkConfig
from model.red30 import Red30
from model.unet import ResidualUNet, UNet

NETWORKS: dict[Name, type[Network]] = {
    "unet": UNet,
    "unet_residual": ResidualUNet,
    "drunet": DrUNet,
    "red30": Red30,
    "nafnet": NafNet,
    "nafnet_small": NafNetSmall,
}


def make_network(config: NetworkConfig) -> Network:
    """A fresh network, its weights drawn from torch's generator."""
    return NETWORKS[config.name](config)
