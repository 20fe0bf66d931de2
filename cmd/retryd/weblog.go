package main

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"
	"golang.org/x/time/rate"
)

// webLog is where the toolkit logs: at most three lines of a kind in a minute, since anybody who
// connects can make it log.
func webLog(l *zap.Logger) *slog.Logger {
	core := zapcore.NewSamplerWithOptions(l.Core(), time.Minute, 3, 0)
	return slog.New(valueless{zapslog.NewHandler(core, zapslog.AddStacktraceAt(slog.LevelError+1))})
}

// errorLog is where net/http logs what went wrong with a connection, such as a TLS handshake.
func errorLog(l *zap.Logger) *log.Logger {
	return log.New(&connectionLog{log: l, sometimes: rate.Sometimes{First: 3, Interval: 10 * time.Second}}, "", 0)
}

type connectionLog struct {
	log       *zap.Logger
	sometimes rate.Sometimes
}

func (c *connectionLog) Write(line []byte) (int, error) {
	c.sometimes.Do(func() {
		c.log.Warn("a connection failed; further ones are not logged for 10 s", zap.String("error", quoted.ReplaceAllString(strings.TrimSpace(string(line)), "[hidden]")))
	})
	return len(line), nil
}

// quoted is how the YAML library quotes a value that it did not expect. In a web configuration
// that can be a password.
var quoted = regexp.MustCompile("`[^`]*`")

func withoutValues(err error) error {
	if err == nil || !quoted.MatchString(err.Error()) {
		return err
	}
	return errors.New(quoted.ReplaceAllString(err.Error(), "[hidden]"))
}

// valueless logs without the values that errors quote.
type valueless struct{ slog.Handler }

func (v valueless) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a.Value.Kind() == slog.KindString {
			a.Value = slog.StringValue(quoted.ReplaceAllString(a.Value.String(), "[hidden]"))
		}
		clean.AddAttrs(a)
		return true
	})
	return v.Handler.Handle(ctx, clean)
}
