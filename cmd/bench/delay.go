package main

import (
	"net"
	"time"
)

// delay returns an address behind which target is, with every byte on its way
// for w.oneWay, in either direction.
func (w *world) delay(target string) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	w.running.Go(func() {
		<-w.ctx.Done()
		l.Close()
	})
	w.running.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", target)
			if err != nil {
				a.Close()
				continue
			}
			w.running.Go(func() {
				<-w.ctx.Done()
				a.Close()
				b.Close()
			})
			w.running.Go(func() { late(b, a, w.oneWay) })
			w.running.Go(func() { late(a, b, w.oneWay) })
		}
	})
	return l.Addr().String(), nil
}

// late copies what src sends to dst, each piece a while after it came.
func late(dst, src net.Conn, by time.Duration) {
	type piece struct {
		due  time.Time
		data []byte
	}
	pieces := make(chan piece, 1024)
	go func() {
		defer close(pieces)
		for {
			b := make([]byte, 32<<10)
			n, err := src.Read(b)
			if n > 0 {
				pieces <- piece{time.Now().Add(by), b[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	defer dst.Close()
	defer src.Close()
	for p := range pieces {
		time.Sleep(time.Until(p.due))
		if _, err := dst.Write(p.data); err != nil {
			break
		}
	}
	for range pieces { // until the reader has seen that its end is closed
	}
}
