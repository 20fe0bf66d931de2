package main

import (
	"encoding/json"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fieldsCSV writes things of the API with a column for each of their fields, under the names that
// they have in its JSON. A field with fields of its own has a column for each of those.
func fieldsCSV[T any](w io.Writer, rows []T) error {
	return writeCSV(w, fieldNames(reflect.TypeFor[T](), ""), rows, func(row T) []string { return fieldTexts(reflect.ValueOf(row)) })
}

func fieldNames(t reflect.Type, before string) (names []string) {
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[time.Time]() {
			names = append(names, fieldNames(f.Type, before+name+"_")...)
			continue
		}
		names = append(names, before+name)
	}
	return names
}

func fieldTexts(v reflect.Value) (texts []string) {
	for _, f := range reflect.VisibleFields(v.Type()) {
		field := v.FieldByIndex(f.Index)
		if _, moment := field.Interface().(time.Time); field.Kind() == reflect.Struct && !moment {
			texts = append(texts, fieldTexts(field)...)
			continue
		}
		texts = append(texts, fieldText(field.Interface()))
	}
	return texts
}

func fieldText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int, int64, bool:
		data, _ := json.Marshal(v) // of these it cannot fail
		return string(data)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case time.Time:
		return stamp(v)
	case *time.Time:
		return at(v)
	case []string:
		return strings.Join(v, "; ")
	case map[string]int:
		return counts(v, "=")
	}
	data, _ := json.Marshal(v) // no cell for it, but nothing is lost
	return string(data)
}

// counts writes what there is of each name, the most first: "12 due, 3 backoff", or with a sign
// "due=12; backoff=3".
func counts(m map[string]int, sign string) string {
	names := slices.Sorted(maps.Keys(m))
	slices.SortStableFunc(names, func(a, b string) int { return m[b] - m[a] })
	var parts []string
	for _, name := range names {
		switch n := strconv.Itoa(m[name]); {
		case m[name] == 0:
		case sign != "":
			parts = append(parts, name+sign+n)
		default:
			parts = append(parts, n+" "+strings.ReplaceAll(name, "_", " "))
		}
	}
	if sign != "" {
		return strings.Join(parts, "; ")
	}
	return strings.Join(parts, ", ")
}

// cappedBy writes how many targets each limit holds back, by its name in the configuration: "165 by in_flight".
func cappedBy(m map[string]int) string {
	names := slices.Sorted(maps.Keys(m))
	slices.SortStableFunc(names, func(a, b string) int { return m[b] - m[a] })
	var parts []string
	for _, name := range names {
		if m[name] > 0 {
			parts = append(parts, strconv.Itoa(m[name])+" by "+name)
		}
	}
	return strings.Join(parts, ", ")
}
