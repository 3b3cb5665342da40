"""The beginning, in the archive that the server sends."""

from service.adapters.lfx_child.forker import main

main()
