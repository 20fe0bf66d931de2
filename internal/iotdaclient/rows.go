package iotdaclient

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// maxRows is far more than any call asks for, and than the platform gives unasked.
const maxRows = 1000

// rows is the list of a reply. One with more than maxRows is not read further: of the largest reply
// that is taken, rows of nothing would come to tens of gigabytes.
type rows[T any] []T

// UnmarshalJSON reads the rows one by one.
func (r *rows[T]) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if open, err := d.Token(); err != nil || open != json.Delim('[') {
		return json.Unmarshal(data, (*[]T)(r)) // null, or what is no list
	}
	list := []T{}
	for d.More() {
		if len(list) == maxRows {
			return oddError(fmt.Sprintf("more than %d rows", maxRows))
		}
		var row T
		if err := d.Decode(&row); err != nil {
			return err
		}
		list = append(list, row)
	}
	*r = list
	return nil
}

// oddError is what a reply has that none of the API's has.
type oddError string

// Error gives it.
func (o oddError) Error() string { return string(o) }
