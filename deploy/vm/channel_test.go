//go:build vm

package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// channel speaks the protocol of QEMU's monitor and of its guest agent: a line of JSON each way.
type channel struct {
	conn   net.Conn
	lines  *bufio.Reader
	events []event
}

type event struct {
	Event string `json:"event"`
	Data  struct {
		Device string `json:"device"`
	} `json:"data"`
}

type answer struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
	event
}

func dial(ctx context.Context, path string) (*channel, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return &channel{conn: conn, lines: bufio.NewReader(conn)}, nil
}

// next reads one line, and gives up when the context ends.
func (c *channel) next(ctx context.Context) (a answer, err error) {
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := c.lines.ReadBytes('\n')
	if err != nil {
		return a, errors.Join(err, ctx.Err())
	}
	for len(line) > 0 && line[0] == 0xFF { // the guest agent's mark of a new beginning
		line = line[1:]
	}
	if json.Unmarshal(line, &a) == nil && a.Event != "" {
		c.events = append(c.events, a.event)
	}
	return a, nil
}

// call sends a command and returns its answer. A call that the context ended spoils the channel.
func (c *channel) call(ctx context.Context, command string, args, result any) error {
	send := map[string]any{"execute": command}
	if args != nil {
		send["arguments"] = args
	}
	line, err := json.Marshal(send)
	if err != nil {
		return err
	}
	if _, err := c.conn.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	for {
		a, err := c.next(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", command, err)
		case a.Error != nil:
			return fmt.Errorf("%s: %s", command, a.Error.Desc)
		case a.Return != nil && result != nil:
			return json.Unmarshal(a.Return, result)
		case a.Return != nil:
			return nil
		}
	}
}

// await waits for an event of a device, also one that has come already.
func (c *channel) await(ctx context.Context, name, device string) error {
	for seen := 0; ; {
		for ; seen < len(c.events); seen++ {
			if e := c.events[seen]; e.Event == name && e.Data.Device == device {
				c.events = c.events[seen+1:]
				return nil
			}
		}
		if _, err := c.next(ctx); err != nil {
			return fmt.Errorf("waiting for %s of %s: %w", name, device, err)
		}
	}
}

func (c *channel) close() {
	if c != nil {
		_ = c.conn.Close()
	}
}
