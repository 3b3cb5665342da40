"""Programs that were written for Langflow, and MCP clients, pointed at Keyturn: real packages, real HTTP."""
