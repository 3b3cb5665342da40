"""Moving from Langflow, from databases that real Langflows wrote."""
