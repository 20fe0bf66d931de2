// Package config reads the configuration file: strict YAML in, a complete and checked
// Config out, or every problem of the file at its line and column.
//
// A key is declared once, as a field of a raw struct: its tag is its name, its place is
// its meaning, and its default stands in the struct's defaults method.
package config
