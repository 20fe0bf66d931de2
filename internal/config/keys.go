package config

import (
	"reflect"
	"slices"
)

// Keys lists the names of all keys, at whatever depth, for what has to speak of each.
func Keys() []string {
	var keys []string
	collectKeys(reflect.TypeFor[rawFile](), &keys)
	slices.Sort(keys)
	return slices.Compact(keys)
}

func collectKeys(t reflect.Type, keys *[]string) {
	for i := range t.NumField() {
		field := t.Field(i)
		name := field.Tag.Get("key")
		if name == "" {
			continue
		}
		*keys = append(*keys, name)
		inner := field.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && name != "defaults" {
			collectKeys(inner, keys)
		}
	}
}
