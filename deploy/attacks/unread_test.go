//go:build lab

package attacks

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/deploy/stack"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Somebody who asks and asks, and reads none of the answers: they wait in the server until they
// can be sent.

func TestCallersKeyAnswersThatNobodyReads(t *testing.T) {
	s := plane(t)
	certificate := key(t, s)
	grows(t, s, func() {
		flood(s, certificate, 20_000, unread(t,
			reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName,
			&reflectionv1.ServerReflectionRequest{
				MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{
					FileContainingSymbol: cpv1.JobService_ServiceDesc.ServiceName}}))
	})
}

func TestCallersKeySmallAnswersThatNobodyReads(t *testing.T) {
	s := plane(t)
	certificate := key(t, s)
	grows(t, s, func() {
		flood(s, certificate, 30_000, unread(t, healthv1.Health_Check_FullMethodName,
			&healthv1.HealthCheckRequest{}))
	})
}

// streams are those of a connection at a time.
const streams = 128

// unread makes calls, as many as a connection may have, whose answers cannot be sent.
func unread(t *testing.T, method string, request proto.Message) func(*attacker) error {
	t.Helper()
	body, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	message := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))
	message = append(message, body...)
	return func(a *attacker) error {
		if a.stream > 2*streams {
			return errors.New("no more")
		}
		if a.stream == 1 {
			if err := a.framer.WriteSettings(http2.Setting{
				ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
				return err
			}
		}
		stream, err := a.open(method, 0)
		if err != nil {
			return err
		}
		return a.framer.WriteData(stream, true, message)
	}
}

// TestNoKeyRapidResetsThatNobodyReads resets calls while nothing of the connection is read at all,
// so that the server's own frames wait.
func TestNoKeyRapidResetsThatNobodyReads(t *testing.T) {
	s := plane(t)
	grows(t, s, func() {
		deaf(t, s, nil, 40, func(a *attacker) error {
			for range 50_000 {
				stream, err := a.open(enroll, 0)
				if err == nil {
					err = a.framer.WriteRSTStream(stream, http2.ErrCodeCancel)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// deaf does so on as many connections at a time, of which nothing is read.
func deaf(t *testing.T, s *stack.Stack, certificate *tls.Certificate, connections int,
	each func(*attacker) error) {
	t.Helper()
	var all sync.WaitGroup
	for range connections {
		a, err := deafly(s, certificate)
		if err != nil {
			continue
		}
		all.Go(func() {
			defer a.conn.Close()
			// What is not read either is not waited for.
			_ = a.conn.SetDeadline(time.Now().Add(20 * time.Second))
			if err := each(a); err != nil {
				t.Log(a.stream, err)
			}
		})
	}
	all.Wait()
}
