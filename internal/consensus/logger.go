package consensus

import (
	"context"
	"log/slog"

	"github.com/cometbft/cometbft/libs/log"
)

// engineLogger passes the engine's log on, one level lower: what it calls info is of every block.
type engineLogger struct{ l *slog.Logger }

func newEngineLogger(l *slog.Logger) log.Logger {
	if l == nil {
		return log.NewNopLogger()
	}
	return engineLogger{l}
}

func (e engineLogger) at(level slog.Level, msg string, keyvals []any) {
	if e.l.Enabled(context.Background(), level) {
		e.l.Log(context.Background(), level, msg, keyvals...)
	}
}

func (e engineLogger) Debug(msg string, kv ...any) { e.at(slog.LevelDebug-4, msg, kv) }
func (e engineLogger) Info(msg string, kv ...any)  { e.at(slog.LevelDebug, msg, kv) }
func (e engineLogger) Warn(msg string, kv ...any)  { e.at(slog.LevelInfo, msg, kv) }
func (e engineLogger) Error(msg string, kv ...any) { e.at(slog.LevelWarn, msg, kv) }

func (e engineLogger) With(kv ...any) log.Logger {
	if !e.l.Enabled(context.Background(), slog.LevelDebug) {
		return e // of no use to anybody: the values belong to debug messages
	}
	return engineLogger{e.l.With(kv...)}
}
