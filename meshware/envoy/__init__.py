from meshware.envoy.export import (
    CA_FILE,
    ENDPOINTS,
    Endpoints,
    Export,
    Settings,
    export_files,
)

__all__ = ["CA_FILE", "ENDPOINTS", "Endpoints", "Export", "Settings", "export_files"]
