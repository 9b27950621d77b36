package bench

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// rate runs do on one goroutine for about the given time and returns how often a second it ran.
func rate(about time.Duration, do func()) float64 {
	start, n := time.Now(), 0
	for time.Since(start) < about {
		for range 20 {
			do()
		}
		n += 20
	}
	return float64(n) / time.Since(start).Seconds()
}

const signedBytes = 320 // of the message that an envelope's signature covers, about

// yardstick is how many Ed25519 signatures one goroutine checks with the standard library: what every node has to do for every action.
// Per second on the wall it shrinks when others use the machine, as the figures held against it do; per second of CPU it does not.
type yardstick struct{ wall, cpu float64 }

func verifications() yardstick {
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	message := make([]byte, signedBytes)
	signature := ed25519.Sign(private, message)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	n, cpu := 0, threadSeconds()
	wall := rate(300*time.Millisecond, func() { ed25519.Verify(public, message, signature); n++ })
	return yardstick{wall: wall, cpu: float64(n) / (threadSeconds() - cpu)}
}

// and is the mean of two measurements, before and after something.
func (y yardstick) and(z yardstick) yardstick {
	return yardstick{(y.wall + z.wall) / 2, (y.cpu + z.cpu) / 2}
}

// hashes is how many SHA-256 of 64 bytes one core does a second: what a node of the state map costs.
func hashes() float64 {
	var block [64]byte
	return rate(200*time.Millisecond, func() { block[0] = sha256.Sum256(block[:])[0] })
}

// syncs is how many appends of 4 kB the disk makes durable in a second, one after the other.
func syncs(dir string) (float64, error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return 0, err
	}
	var fail error
	block := make([]byte, 4096)
	got := rate(300*time.Millisecond, func() {
		_, err := f.Write(block)
		fail = errors.Join(fail, err, syscall.Fdatasync(int(f.Fd())))
	})
	return got, errors.Join(fail, f.Close(), os.Remove(f.Name()))
}

// measureLimits notes the limits as they are before everything else; the figures below use ones that were measured beside them.
func measureLimits(_ context.Context, r *run) error {
	r.add("cores", float64(runtime.GOMAXPROCS(0)), "", "", 0)
	r.add("ed25519 verify, standard library, one core", verifications().wall, "1/s", "", 0)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	message := make([]byte, signedBytes)
	r.add("ed25519 sign, standard library, one core", rate(200*time.Millisecond, func() { ed25519.Sign(private, message) }), "1/s", "", 0)
	r.add("sha-256 of 64 bytes, one core", hashes(), "1/s", "", 0)
	exchange, err := exchanges()
	if err != nil {
		return err
	}
	r.add("x25519, one core", exchange, "1/s", "", 0)
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		return err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	page, out, nonce := make([]byte, 64<<10), make([]byte, 0, 65<<10), make([]byte, gcm.NonceSize())
	r.add("aes-256-gcm, one core", rate(200*time.Millisecond, func() { gcm.Seal(out, nonce, page, nil) })*float64(len(page))/1e6, "MB/s", "", 0)
	sync, err := syncs(r.dir)
	if err != nil {
		return err
	}
	r.add("append and fdatasync of 4 kB", sync, "1/s", "", 0)
	return nil
}

// exchanges is how many X25519 agreements one core computes a second: one multiplication of a point each.
func exchanges() (float64, error) {
	a, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return 0, err
	}
	b, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return 0, err
	}
	return rate(200*time.Millisecond, func() { _, _ = a.ECDH(b.PublicKey()) }), nil
}

// cpuSeconds is what this process has used of all cores so far. Unlike the time on the wall it does not grow when others use the machine.
func cpuSeconds() float64 { return usedSeconds(syscall.RUSAGE_SELF) }

// threadSeconds is the same of the thread that asks.
func threadSeconds() float64 { return usedSeconds(rusageThread) }

const rusageThread = 1 // Linux's RUSAGE_THREAD

func usedSeconds(who int) float64 {
	var u syscall.Rusage
	if syscall.Getrusage(who, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
