package iotdaclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxRows is far more than any call asks for, and than the platform gives unasked.
const maxRows = 1000

// rows is the list of a reply that is held as a whole. One with more than maxRows is not read further: of
// the largest reply that is taken, rows of nothing would come to tens of gigabytes.
type rows[T any] []T

// UnmarshalJSON reads the rows one by one.
func (r *rows[T]) UnmarshalJSON(data []byte) error {
	return readRows(json.NewDecoder(bytes.NewReader(data)), "", (*[]T)(r), nil)
}

// into reads the body of a reply.
type into func(io.Reader) error

// whole reads a reply of one small value.
func whole(out any) into {
	return func(body io.Reader) error {
		data, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		return json.Unmarshal(data, out)
	}
}

// fields says for each field of a reply's object what reads its value; the others are skipped. So
// no more of a reply is held than one row of a list.
type fields map[string]func(*json.Decoder) error

var errNoObject = errors.New("there is no object, or there is more than one")

// read reads an object, and nothing after it.
func (f fields) read(d *json.Decoder) error {
	open, err := d.Token()
	switch {
	case err != nil:
		return err
	case open == nil: // null
	case open != json.Delim('{'):
		return errNoObject
	default:
		if err := f.object(d); err != nil {
			return err
		}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errNoObject
	}
	return nil
}

func (f fields) object(d *json.Decoder) error {
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if err := f.of(fmt.Sprint(key))(d); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// of gives what reads a field, whose name may be in any case, as encoding/json has it.
func (f fields) of(key string) func(*json.Decoder) error {
	for name, read := range f {
		if strings.EqualFold(name, key) {
			return read
		}
	}
	return func(d *json.Decoder) error { return d.Decode(&skipped{}) }
}

type skipped struct{}

// UnmarshalJSON leaves a value that is JSON as it is.
func (*skipped) UnmarshalJSON([]byte) error { return nil }

// value reads one value.
func value(name string, to any) func(*json.Decoder) error {
	return func(d *json.Decoder) error { return within(name, d.Decode(to)) }
}

// list reads the rows of a list. read, which may be nil, is told of each.
func list[T any](name string, to *[]T, read func(*T)) func(*json.Decoder) error {
	return func(d *json.Decoder) error { return readRows(d, name, to, read) }
}

func readRows[T any](d *json.Decoder, name string, to *[]T, read func(*T)) error {
	*to = nil
	switch open, err := d.Token(); {
	case err != nil:
		return err
	case open == nil:
		return nil
	case open != json.Delim('['):
		return &json.UnmarshalTypeError{Value: kind(open), Field: name}
	}
	all := []T{}
	for d.More() {
		if len(all) == maxRows {
			return oddError(fmt.Sprintf("more than %d rows", maxRows))
		}
		all = append(all, *new(T))
		row := &all[len(all)-1]
		if err := d.Decode(row); err != nil {
			return within(name, err)
		}
		if read != nil {
			read(row)
		}
	}
	*to = all
	_, err := d.Token()
	return err
}

// kind gives the word of encoding/json for what begins with a token.
func kind(t json.Token) string {
	switch t.(type) {
	case json.Delim:
		return "object"
	case bool:
		return "bool"
	case string:
		return "string"
	}
	return "number"
}

// within says which field a value of the wrong type is in.
func within(name string, err error) error {
	var wrong *json.UnmarshalTypeError
	if name == "" || !errors.As(err, &wrong) {
		return err
	}
	in := *wrong
	in.Field = strings.TrimSuffix(name+"."+wrong.Field, ".")
	return &in
}

// oddError is what a reply has that none of the API's has.
type oddError string

// Error gives it.
func (o oddError) Error() string { return string(o) }
