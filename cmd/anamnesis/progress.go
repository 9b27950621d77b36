package main

import (
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// bar shows progress on standard error while somebody is looking, and does nothing otherwise.
type bar struct {
	all *mpb.Progress
	one *mpb.Bar
}

func (c *cli) bar(what string, total int64) *bar {
	if !isTerminal(c.err) || c.json || total == 0 {
		return &bar{}
	}
	all := mpb.New(mpb.WithOutput(c.err), mpb.WithWidth(40), mpb.WithRefreshRate(100*time.Millisecond))
	return &bar{all: all, one: all.AddBar(total, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(what+" "), decor.CountersNoUnit("%d/%d")),
		mpb.AppendDecorators(decor.Percentage(), decor.Name(" "), decor.AverageETA(decor.ET_STYLE_GO)))}
}

func (b *bar) add(n int) {
	if b.one != nil {
		b.one.IncrBy(n)
	}
}

func (b *bar) set(n int64) {
	if b.one != nil {
		b.one.SetCurrent(n)
	}
}

// done takes the bar away, finished or not.
func (b *bar) done() {
	if b == nil || b.one == nil {
		return
	}
	b.one.Abort(true)
	b.all.Wait()
}
