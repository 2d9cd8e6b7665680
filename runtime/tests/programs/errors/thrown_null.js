// not in bare, which fails itself at this
throw null
