"""Our runtimes inside servers of others. These modules run where such a server is installed, with numpy and a runtime's package."""
