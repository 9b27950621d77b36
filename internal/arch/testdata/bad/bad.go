// Package bad breaks every ban once or more; the lines say which.
package bad

import (
	"crypto/rand" // want randomness
	"maps"
	mr "math/rand/v2" // want randomness
	"net/http"        // want outside
	"os"              // want outside
	"time"
)

type names map[string]int

func ordered[M ~map[string]int](m M) (n int) {
	for range m { // want map order
		n++
	}
	return n
}

func everything(ch chan int) time.Duration {
	clock := time.Now // want clock
	began := clock()
	for k, v := range (names{"a": 1}) { // want map order
		_, _ = k, v
	}
	for k := range maps.Keys(names{"a": 1}) { // want map order
		_ = k
	}
	go func() { ch <- 1 }() // want concurrency
	select {                // want concurrency
	case <-ch:
	default:
	}
	var ratio float32         // want float
	_ = ratio                 // want float
	_ = 1.5                   // want float
	_ = float64(len(os.Args)) // want float
	_ = rand.Reader
	_ = mr.Int()
	_ = http.StatusOK
	for i, v := range []int{1} { // slices have an order
		_, _ = i, v
	}
	return time.Since(began) // want clock
}

var _, _ = ordered[names], everything
