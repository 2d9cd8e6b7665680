import './files/imports_missing.mjs'
