"""The paths of Ollama that its clients and plug-ins use, over the one model that is served."""
