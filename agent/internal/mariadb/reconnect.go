package mariadb

import (
	"bytes"
	"context"
	"time"
)

// Reconnect restarts the IO thread alone, which signs in with the certificate that MariaDB has now,
// and waits until the primary serves it. One that is stopped reads it when it starts. Called again
// for the same certificate it only waits: on a slow network a connection takes longer than a call,
// and another restart would begin it anew.
func (rp *Replica) Reconnect(ctx context.Context,
	timeout time.Duration) (now Replication, changed bool, err error) {
	const what = "cannot reconnect to the primary"
	err = rp.change(ctx, what, func(current Replication) (err error) {
		if rp.quiesced() {
			return quiescedNow(what)
		}
		if now = current; current.IORunning == "No" && current.IOErrno == 0 {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		if changed, err = rp.showCertificate(ctx, current); err != nil {
			return err
		}
		now, err = awaitServed(ctx, rp.server.db, timeout)
		return err
	})
	return now, changed, err
}

// showCertificate restarts the IO thread unless it has read MariaDB's certificate of now.
func (rp *Replica) showCertificate(ctx context.Context, current Replication) (bool, error) {
	cert, err := readCertificate(rp.server.tls.Cert)
	if err != nil {
		return false, err
	}
	if current.IORunning != "No" && bytes.Equal(rp.showed, cert.Raw) {
		return false, nil
	}
	for _, verb := range []string{"STOP", "START"} {
		if err := execute(ctx, rp.server.db, verb+" SLAVE IO_THREAD"); err != nil {
			return true, err
		}
	}
	rp.showed = cert.Raw
	return true, nil
}

// awaitServed waits until the primary sends its binary log to the IO thread.
func awaitServed(ctx context.Context, q querier, timeout time.Duration) (Replication, error) {
	var last Replication
	err := poll(ctx, func() (bool, error) {
		now, configured, err := defaultReplication(ctx, q)
		if err != nil || !configured {
			return false, err
		}
		if last = now; now.IOErrno != 0 && !retried(now.IOErrno) {
			return false, replicationError("IO", now.IOErrno, now.IOError)
		}
		return now.IORunning == "Yes" && served(now), nil
	})
	if err != nil && ctx.Err() != nil {
		return last, notRunning(last, timeout)
	}
	return last, err
}
