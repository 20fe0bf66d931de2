package iotdaclient

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"retryd/internal/iotda"
)

const (
	// maxText is far more than any text of a reply has.
	maxText = 4 << 20
	// maxTarget is more than a device id's 128 characters [doc ShowDevice] have, however they are spelt.
	maxTarget = 2 << 10
	// maxTargets is twice what the rows of a page can carry.
	maxTargets = 2 * iotda.MaxPageSize * iotda.MaxTaskTargets
)

// lean is a reply without the targets of its tasks: their lists are taken out as it is read, and leave
// null in their place. A page of tasks can name a million and a half of them, some 60 MB, and the reply
// of one task 30,000: read as JSON they would cost a hundred times what is wanted of them. It
// looks at nothing else, so that whoever reads what is left sees what is wrong with it.
type lean struct {
	r     *bufio.Reader
	depth int  // of the objects that are tasks
	keep  bool // what the lists name; else it is skipped

	level   int
	text    int  // bytes of the text that is being read, from 1; 0 = none is
	escaped bool // the byte before was a backslash
	matched int  // bytes of the text that are those of key; -1 = it is another
	given   int64
	rest    string // to be given before anything else
	err     error

	names   int
	scratch iotda.DeviceSet
	found   []foundSet
}

type foundSet struct {
	at  int64 // where its null is
	set iotda.DeviceSet
}

// key is what a task has its targets under. Where JSON spells it in another way, the list stays.
const key = "targets"

// Read gives what is at hand. Whoever has got an error gets it again.
func (l *lean) Read(p []byte) (n int, err error) {
	for n < len(p) && l.err == nil && (n == 0 || l.rest != "" || l.r.Buffered() > 0) {
		if l.rest != "" {
			p[n], l.rest = l.rest[0], l.rest[1:]
		} else if p[n], l.err = l.r.ReadByte(); l.err == nil {
			l.err = l.step(p[n])
		}
		if l.err == nil {
			n++
			l.given++
		}
	}
	return n, l.err
}

// step follows one byte that is given.
func (l *lean) step(c byte) error {
	if l.text > 0 {
		return l.inText(c)
	}
	switch c {
	case '"':
		l.text, l.matched = 1, 0
	case '{', '[':
		l.level++
		l.matched = -1
	case '}', ']':
		l.level--
		l.matched = -1
	case ' ', '\t', '\r', '\n':
	case ':':
		if l.level == l.depth && l.matched == len(key) {
			l.matched = -1
			return l.value()
		}
		l.matched = -1
	default:
		l.matched = -1
	}
	return nil
}

func (l *lean) inText(c byte) error {
	if l.text++; l.text > maxText {
		return oddError(fmt.Sprintf("a text of more than %d MB", maxText>>20))
	}
	switch {
	case l.escaped:
		l.escaped = false
	case c == '"':
		l.text = 0
	case c == '\\':
		l.escaped, l.matched = true, -1
	case l.matched >= 0 && l.matched < len(key) && key[l.matched] == c:
		l.matched++
	default:
		l.matched = -1
	}
	return nil
}

// value takes out the list that comes next, if one does.
func (l *lean) value() error {
	c, err := l.next()
	if err != nil {
		return err
	}
	if c != '[' {
		return l.r.UnreadByte()
	}
	at := l.given + 1 // after the colon
	if err := l.list(); err != nil {
		return err
	}
	l.rest = "null"
	if l.keep {
		l.found = append(l.found, foundSet{at, l.scratch.Clean()})
		l.scratch = l.scratch[:0]
	}
	return nil
}

// next gives the next byte that is no blank.
func (l *lean) next() (byte, error) {
	for {
		c, err := l.r.ReadByte()
		if err != nil || c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c, err
		}
	}
}

var errList = errors.New("a list of targets that is no JSON")

// list reads a list of texts to its end. Its bracket has been read.
func (l *lean) list() error {
	for n := 0; ; n++ {
		c, err := l.next()
		switch {
		case err != nil:
			return err
		case c == ']' && n == 0:
			return nil
		case c != '"':
			return notText(c)
		}
		if err := l.target(); err != nil {
			return err
		}
		switch c, err := l.next(); {
		case err != nil:
			return err
		case c == ']':
			return nil
		case c != ',':
			return errList
		}
	}
}

// notText says what is in a list in place of a text.
func notText(first byte) error {
	kind := map[byte]string{'{': "object", '[': "array", 't': "bool", 'f': "bool", 'n': "null", '-': "number"}[first]
	if '0' <= first && first <= '9' {
		kind = "number"
	}
	if kind == "" {
		return errList
	}
	return &json.UnmarshalTypeError{Value: kind, Field: key}
}

// target reads one text. Its first quote has been read.
func (l *lean) target() error {
	text, err := l.r.ReadSlice('"')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		return err
	}
	if err != nil || odd(text[:len(text)-1]) {
		if text, err = l.spelt(text); err != nil {
			return err
		}
	}
	if !l.keep {
		return nil
	}
	if l.names++; l.names > maxTargets {
		return oddError(fmt.Sprintf("more than %d targets", maxTargets))
	}
	l.scratch.Add(text[:len(text)-1])
	return nil
}

// odd tells whether JSON may read a text as something else than its bytes.
func odd(text []byte) bool {
	ascii := true
	for _, c := range text {
		if c < ' ' || c == '\\' {
			return true
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return !ascii && !utf8.Valid(text)
}

// spelt gives a text, with a byte after it, as JSON reads it. begun is what has been read.
func (l *lean) spelt(begun []byte) ([]byte, error) {
	text := append([]byte{'"'}, begun...)
	for !closed(text) {
		if len(text) > maxTarget {
			return nil, oddError(fmt.Sprintf("a target of more than %d bytes", maxTarget))
		}
		more, err := l.r.ReadSlice('"')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		text = append(text, more...)
	}
	var read string
	if err := json.Unmarshal(text, &read); err != nil {
		return nil, errList
	}
	return append([]byte(read), '"'), nil
}

// closed tells whether a text ends with the quote that closes it.
func closed(text []byte) bool {
	if len(text) < 2 || text[len(text)-1] != '"' {
		return false
	}
	before := text[1 : len(text)-1]
	return (len(before)-len(bytes.TrimRight(before, `\`)))%2 == 0
}

// before gives the last set that was taken out before an offset of what was given, and forgets it and
// those before it.
func (l *lean) before(offset int64) (last iotda.DeviceSet) {
	for len(l.found) > 0 && l.found[0].at < offset {
		last, l.found = l.found[0].set, l.found[1:]
	}
	return last
}

// newLean reads a reply in which the tasks are objects of this depth.
func newLean(r io.Reader, depth int, keep bool) *lean {
	return &lean{r: bufio.NewReaderSize(r, leanBuffer), depth: depth, keep: keep, matched: -1}
}

const leanBuffer = 16 << 10
