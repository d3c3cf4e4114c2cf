"""Shows solo-learn the configs and the methods of solo-adv when its scripts start Hydra.

Every Hydra application in the environment imports this module, which imports torch and the methods
only for solo-learn's scripts.
There is no ``__init__.py`` here: ``hydra_plugins`` is a namespace that plugins share.
"""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from solo_adv.host import plugin


class SoloAdvSearchPath(SearchPathPlugin):
    """Adds the configs of ``solo_adv.conf`` to the search path, after solo-learn's own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra before it looks for the config that the user named."""
        if plugin.solo_learn_is_running():
            plugin.register()
            search_path.append("solo-adv", "pkg://solo_adv.conf")
