"""`tule debug`: a function's next calls wait for a debugger, and VS Code is told where."""
