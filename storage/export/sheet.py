"""What people read in a package, in Chinese: the sheet as HTML and PDF, the text of a disc's label, how to verify.

The articles that ask for a note with evidence name 制作人, 提取人 and 提取时间 (W-AV 第三十条, Chongqing 第二十四条).
What nobody has said stands as a line to be filled in by hand, never as a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, select_autoescape
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from domain.clock import Instant
from storage.export.holdings import Gap, Holdings
from storage.export.original import Original
from storage.export.package import Request, Told
from storage.export.remux import Copy

FONT = "STSong-Light"
"""One of the fonts that every PDF reader has for Chinese; it is named in the file, not embedded."""
BLANK = "＿＿＿＿＿＿"
CAUSES = {
    "battery": "电量耗尽",
    "storage": "存储空间不足",
    "network": "网络中断",
    "server": "服务器中断",
    "officer": "人员停止",
    "device_stop": "设备停止",
    "maintenance": "检修",
    "clock": "时钟调整",
    "unknown": "原因不明",
    "": "原因未记录",
}
METHODS = {"voice": "语音说明", "written": "书面说明", "work_record": "工作记录"}
_GREY = colors.HexColor("#e8e8e8")


class Part(msgspec.Struct, frozen=True):
    """One table of the sheet.

    Attributes:
        title: Above it.
        header: Names of its columns; none where each row is a name and a value.
        rows: Text, row by row.
    """

    title: str
    header: list[str]
    rows: list[list[str]]


def write(folder: Path, told: Told, holdings: Holdings, copies: Sequence[Copy]) -> list[tuple[str, str]]:
    """Write all of it into a package's folder.

    Returns:
        Path in the package, and what it is, of each file.
    """
    parts = content(told, holdings, copies)
    title = "视听资料（音像记录）证据说明"
    (folder / "sheet.html").write_text(_html(title, parts), encoding="utf-8")
    _pdf(folder / "sheet.pdf", title, parts)
    (folder / "label.txt").write_text(label(told), encoding="utf-8")
    (folder / "README.txt").write_text(_template("readme.txt").render(told=told), encoding="utf-8")
    return [("sheet.html", "sheet"), ("sheet.pdf", "sheet"), ("label.txt", "label"), ("README.txt", "readme")]


def content(told: Told, holdings: Holdings, copies: Sequence[Copy]) -> list[Part]:
    """Return the sheet's tables."""
    parts = [
        Part("一、基本情况", [], _facts(told, holdings)),
        Part("二、制作与提取", [], _hands(told)),
        Part(
            "三、原始录像",
            ["序号", "文件", "起", "止", "后补交付", "字节", "SHA-256", "保管链序号"],
            [_original(number, one) for number, one in enumerate(told.objects, 1)],
        ),
        Part(
            "四、中断（缺失）",
            ["起", "止", "秒", "原因", "后补", "保管链序号"],
            [_gap(gap) for gap in told.gaps] or [["无", "", "", "", "", ""]],
        ),
        Part("五、说明", ["时间", "方式", "原因", "内容", "说明人", "审核人"], _explanations(holdings)),
        Part(
            "六、播放副本",
            ["文件", "起", "止", "画面停顿（中断处）"],
            [
                [
                    f"play/{copy.path.name}",
                    _when(copy.from_at.rfc3339()),
                    _when(copy.to_at.rfc3339()),
                    "；".join(f"{pause.at_s:.1f} 秒处停 {pause.seconds:.1f} 秒" for pause in copy.pauses) or "无",
                ]
                for copy in copies
            ],
        ),
    ]
    if holdings.deleted:
        rows = [[row.key, _when(row.from_at.rfc3339()), _when(row.to_at.rfc3339())] for row in holdings.deleted]
        parts.append(Part("七、已按期限删除（有删除凭证）", ["对象", "起", "止"], rows))
    return parts


def label(told: Told) -> str:
    """Return the text of a disc's label (光盘标签)."""
    request = told.request
    begin, end = told.objects[0].from_, max(one.to for one in told.objects)
    lines = [
        f"案由：{request.matter or BLANK}",
        f"当事人：{request.party or BLANK}",
        f"内容：音像记录原件 {len(told.objects)} 件",
        f"录制时间：{_when(begin)} 至 {_when(end)}",
        f"制作人：{request.made_by or BLANK}",
        f"提取人：{request.by}",
        f"提取时间：{_when(told.made_at)}",
        f"单位：{request.unit or BLANK}",
    ]
    return "\n".join(lines) + "\n"


def _facts(told: Told, holdings: Holdings) -> list[list[str]]:
    request: Request = told.request
    begin, end = told.objects[0].from_, max(one.to for one in told.objects)
    policies = sorted({one.row.policy for one in holdings.recordings})
    return [
        ["当事人", request.party or BLANK],
        ["案由（事项）", request.matter or BLANK],
        ["执法人员", "、".join(request.officers) or BLANK],
        ["执法地点", request.place or BLANK],
        ["记录设备", told.recorder_id],
        ["记录编号", told.session_id],
        ["录制时间", f"{_when(begin)} 至 {_when(end)}"],
        ["提取范围", "全部" if told.from_ is None else f"{_when(told.from_)} 至 {_when(told.to or '')}"],
        ["时间依据", "系统时钟（东八区），不是设备自身的时钟"],
        ["设备时钟偏差", _clock(told)],
        ["适用规定", "、".join(policies)],
    ]


def _clock(told: Told) -> str:
    if told.clock is None:
        return BLANK
    if not told.clock:
        return "录制期间未发现超过规定的偏差"
    ahead = ("快", "慢")
    return "；".join(
        f"{_when(one.from_)} 起{ahead[one.offset_s < 0]} {abs(one.offset_s):.1f} 秒"
        + (f"，至 {_when(one.to)}" if one.to else "，未恢复")
        for one in told.clock
    )


def _hands(told: Told) -> list[list[str]]:
    request = told.request
    return [
        ["单位", request.unit or BLANK],
        ["制作人", request.made_by or BLANK],
        ["提取人", request.by],
        ["提取时间", _when(told.made_at)],
        ["用途", request.purpose or BLANK],
        ["批准人", _approval(request)],
        ["批准文书", request.document or BLANK],
        ["依据", "、".join(request.clauses) or BLANK],
    ]


def _approval(request: Request) -> str:
    if not request.approved_by:
        return BLANK
    if request.application:
        return f"{request.approved_by}（系统内审批，申请 {request.application}，各步记入保管链）"
    return f"{request.approved_by}（提取人所填，系统未核验）"


def _original(number: int, one: Original) -> list[str]:
    """A file that was delivered later has the times that its sender said, and when it came."""
    delivered = _when(one.delivered_at) if one.delivered_at else "否"
    times = [_when(one.from_), _when(one.to), delivered]
    return [str(number), one.file, *times, str(one.bytes), one.sha256, str(one.entry)]


def _gap(gap: Gap) -> list[str]:
    entry = "" if gap.entry is None else str(gap.entry)
    cause = CAUSES.get(gap.cause, gap.cause)
    return [_when(gap.from_), _when(gap.to), f"{gap.seconds:.1f}", cause, "是" if gap.filled else "否", entry]


def _explanations(holdings: Holdings) -> list[list[str]]:
    rows = []
    for line in holdings.of_kind("explanation"):
        body: dict[str, Any] = line.entry.body
        rows.append(
            [
                _when(line.entry.at.rfc3339()),
                METHODS.get(str(body.get("method")), str(body.get("method") or "")),
                str(body.get("cause") or ""),
                str(body.get("text") or ""),
                str(body.get("by") or ""),
                str(body.get("approved_by") or ""),
            ]
        )
    return rows or [["无", "", "", "", "", ""]]


def _when(text: str) -> str:
    return f"{Instant.parse(text).datetime():%Y-%m-%d %H:%M:%S}" if text else BLANK


def _template(name: str) -> Any:
    loader = PackageLoader("storage.export", "templates")
    return Environment(loader=loader, autoescape=select_autoescape(["html"])).get_template(name)


def _html(title: str, parts: Sequence[Part]) -> str:
    text: str = _template("sheet.html").render(title=title, parts=parts)
    return text


def _pdf(path: Path, title: str, parts: Sequence[Part]) -> None:
    pdfmetrics.registerFont(UnicodeCIDFont(FONT))
    heading = ParagraphStyle("heading", fontName=FONT, fontSize=16, leading=22, alignment=1, spaceAfter=4 * mm)
    section = ParagraphStyle("section", fontName=FONT, fontSize=11, leading=16, spaceBefore=4 * mm, spaceAfter=2 * mm)
    cell = ParagraphStyle("cell", fontName=FONT, fontSize=8, leading=11, wordWrap="CJK")
    edge = 15 * mm
    document = SimpleDocTemplate(
        str(path),
        pagesize=A4,
        title=title,
        author="留痕 Liuhen",
        leftMargin=edge,
        rightMargin=edge,
        topMargin=edge,
        bottomMargin=edge,
    )
    story: list[Any] = [Paragraph(title, heading)]
    for part in parts:
        story += [Paragraph(part.title, section), _table(part, cell, document.width), Spacer(1, 2 * mm)]
    document.build(story)


def _table(part: Part, cell: ParagraphStyle, width: float) -> Table:
    rows = [part.header, *part.rows] if part.header else part.rows
    made = [[Paragraph(_escaped(text), cell) for text in row] for row in rows]
    table = Table(made, colWidths=_widths(part, width), repeatRows=1 if part.header else 0)
    style: list[Any] = [("GRID", (0, 0), (-1, -1), 0.4, colors.grey), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    style.append(("BACKGROUND", (0, 0), (-1, 0) if part.header else (0, -1), _GREY))
    table.setStyle(TableStyle(style))
    return table


def _widths(part: Part, width: float) -> list[float]:
    if not part.header:
        return [width * 0.2, width * 0.8]
    weights = [
        max(4, *(min(24, len(row[number])) for row in [part.header, *part.rows])) for number in range(len(part.header))
    ]
    return [width * weight / sum(weights) for weight in weights]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
